"""What is different on the face of this service that OpenAI's clients know."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from service.api.errors import ApiError, translate
from service.api.openapi import Responses, problems
from service.api.plain_route import PlainRoute
from service.api.schemas import Video
from service.jobs.contract import Job, JobState

BAD_REQUEST, UNPROCESSABLE = 400, 422
CLIENT = "x-stainless-lang"
"""The header by which OpenAI's clients tell what they are written in."""
JOBS = "/v1/jobs"
"""Of this service alone."""


class OpenAIRoute(APIRoute):
    """Refuses bad fields with 400, as OpenAI does; the native routes say 422."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (ApiError, RequestValidationError) as error:
                raise as_bad_request(error) from None

        return answer


class PlainOpenAIRoute(PlainRoute):
    """The same of a plain route."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().handle(scope, receive, send)
        except ApiError as error:
            raise as_bad_request(error) from None


def as_bad_request(error: Exception) -> ApiError:
    refusal = translate(error)
    if refusal.status == UNPROCESSABLE:
        refusal.status = BAD_REQUEST
    return refusal


def refusals(*codes: str) -> Responses:
    """As `problems`, with what is 422 elsewhere under 400."""
    return problems(*codes, instead={UNPROCESSABLE: BAD_REQUEST})


def is_openai_client(request: Request) -> bool:
    """Whether the answer is for one of OpenAI's clients, and about what they call a video."""
    return CLIENT in request.headers and not request.scope["path"].startswith(JOBS)


async def asked_by_openai(request: Request) -> bool:  # async: FastAPI sends plain functions to a thread
    return is_openai_client(request)


def video_for(job: Job, *, openai: bool) -> Video:
    """The job as the client knows videos. OpenAI's know no `cancelled`: for them that is `failed`, and the code of its
    error says why.
    """
    video = Video.of(job)
    if openai and job.state is JobState.CANCELLED:
        return video.model_copy(update={"status": JobState.FAILED})
    return video
