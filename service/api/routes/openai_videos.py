"""The part of OpenAI's Videos API that makes videos: `POST /v1/videos`, remix, edits, extensions, characters.

Looking, listing, downloading and deleting are the same on both faces of the service: `videos.py` and `content.py`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from service.api.accepting import accept_video
from service.api.errors import ApiError
from service.api.inputs import InputTaker
from service.api.limits import chosen_card
from service.api.openai_requests import (
    CreateCharacterRequest,
    CreateVideoRequest,
    EditVideoRequest,
    ExtendVideoRequest,
    RemixVideoRequest,
    as_task,
    with_length,
)
from service.api.openai_route import OpenAIRoute, PlainOpenAIRoute, refusals
from service.api.openapi import Responses, form_request
from service.api.resources import Held, Resources, resources_of
from service.api.routes.text_to_video import ACCEPTED, REFUSALS, WITH_FILES
from service.api.schemas import TextToVideoRequest
from service.api.task_body import Asked, asked_of, task_body
from service.api.task_options import spec_with_inputs
from service.api.terms import TERMS, Agreed, Terms, terms_of
from service.api.video_id import ExistingJob, finished
from service.jobs.contract import Job, JobSpec, MediaRef, StylizeOptions
from service.uploads.media import MP4

OK = 200

router = APIRouter(tags=["videos"], route_class=OpenAIRoute)
creating = APIRouter(tags=["videos"], route_class=PlainOpenAIRoute)

ANSWER: Responses = {200: ACCEPTED}


async def make(
    asked: Asked[Any],
    held: Resources,
    terms: Terms,
    remixed_from: str | None = None,
) -> Response:
    fields: CreateVideoRequest = asked.fields
    inputs = InputTaker(held, asked.files)
    reference = fields.input_reference
    task = fields.chosen_task(None if reference is None else await inputs.kind_of(reference))
    wanted = as_task(fields, task)
    card = chosen_card(wanted.model, task, held.catalogue)
    wanted = with_length(wanted, fields.seconds, card)

    async def make_spec(inputs: InputTaker) -> JobSpec:
        spec = await spec_with_inputs(wanted, held.catalogue, inputs)
        return spec.model_copy(update={"remixed_from": remixed_from})

    try:
        return await accept_video(held, terms, wanted, make_spec, inputs, status=OK)
    except ApiError as error:
        if fields.input_reference is not None and error.param in ("image", "video"):
            error.param, error.detail = "input_reference", f"input_reference as {error.detail}"
        raise


@creating.post(
    "/v1/videos",
    summary="Make a video (OpenAI)",
    openapi_extra={**form_request(CreateVideoRequest), **TERMS},
    responses={**ANSWER, **refusals(*WITH_FILES)},
)
async def create_video(request: Request) -> Response:
    """As OpenAI's clients send it; every task of this service can be asked for by additional fields. Requests that a
    client repeats by itself (`x-stainless-retry-count`) make one job.
    """
    held = await resources_of(request)
    async with asked_of(CreateVideoRequest, request, held) as asked:
        return await make(asked, held, await terms_of(request))


@creating.post(
    "/v1/videos/edits",
    summary="Edit a video (OpenAI)",
    openapi_extra={**form_request(EditVideoRequest), **TERMS},
    responses={**ANSWER, **refusals(*WITH_FILES)},
)
async def edit_video(request: Request) -> Response:
    """`stylize`, or `inpaint` where a mask, boxes or margins are given."""
    held = await resources_of(request)
    async with asked_of(EditVideoRequest, request, held) as asked:
        return await make(asked, held, await terms_of(request), remixed_from=asked.fields.video.id)


@router.post(
    "/v1/videos/{video_id}/remix",
    summary="Remix a video (OpenAI)",
    openapi_extra={**form_request(RemixVideoRequest), **TERMS},
    responses={
        **ANSWER,
        **refusals(*REFUSALS, "invalid_form", "video_not_found", "video_not_ready", "video_has_no_content"),
    },
)
async def remix_video(
    job: ExistingJob,
    asked: Annotated[Asked[RemixVideoRequest], Depends(task_body(RemixVideoRequest))],
    held: Held,
    terms: Agreed,
) -> Response:
    """A completed video with another prompt: its motion is kept where its model can `stylize`, else what was asked for
    is asked for again, from the same seed.
    """
    fields = asked.fields
    wanted = TextToVideoRequest(prompt=fields.prompt, metadata=fields.metadata)

    async def make_spec(_: InputTaker) -> JobSpec:
        card = chosen_card(job.spec.model, job.spec.task, held.catalogue)
        most = card.limits.prompt_characters
        if len(fields.prompt) > most:
            raise ApiError("invalid_field", f"prompt may have {most} characters at most", param="prompt")
        return remix_of(job, fields, stylize="stylize" in card.tasks)

    return await accept_video(held, terms, wanted, make_spec, InputTaker(held, {}), status=OK)


def remix_of(job: Job, fields: RemixVideoRequest, *, stylize: bool) -> JobSpec:
    """Raises ApiError when there is no video to remix."""
    result = finished(job, "video_id")
    changes: dict[str, object] = {"prompt": fields.prompt, "metadata": fields.metadata, "remixed_from": job.id}
    if stylize:
        video = MediaRef(key=result.path, media_type=MP4.name, sha256=result.sha256, bytes=result.bytes)
        changes |= {"task": "stylize", "options": StylizeOptions(video=video)}
    return job.spec.model_copy(update=changes)


# What follows is in OpenAI's API and not in this one: refused with the reason, and not described in OpenAPI.


@router.post("/v1/videos/extensions", include_in_schema=False)
async def extend_video(_: Annotated[Asked[Any], Depends(task_body(ExtendVideoRequest))]) -> None:
    """All frames of a video are made in one pass, so that none can be added to it afterwards."""
    detail = "videos cannot be extended: ask for more frames, or begin a new one with the last frame"
    raise ApiError("not_supported", detail)


@router.post("/v1/videos/characters", include_in_schema=False)
async def create_character(_: Annotated[Asked[Any], Depends(task_body(CreateCharacterRequest))]) -> None:
    """The models have no memory of persons."""
    detail = "there are no characters: describe the person in the prompt, or begin with an image"
    raise ApiError("not_supported", detail)


@router.get("/v1/videos/characters/{character_id}", include_in_schema=False)
async def get_character(character_id: str) -> None:
    """There is none."""
    raise ApiError("not_found", "there are no characters", param="character_id")


router.include_router(creating)
