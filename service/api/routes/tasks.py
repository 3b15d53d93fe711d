"""`POST /v1/image-to-video`, `/v1/inpaint`, `/v1/cinemagraph`, `/v1/stylize`: images and videos become a job."""

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import APIRouter, Request, Response

from service.api.accepting import accept_video
from service.api.inputs import InputTaker
from service.api.openapi import form_request, problems
from service.api.plain_route import PlainRoute
from service.api.resources import resources_of
from service.api.routes.text_to_video import ACCEPTED, WITH_FILES
from service.api.schemas import VideoRequest
from service.api.task_body import asked_of
from service.api.task_options import TASK_OF, spec_with_inputs
from service.api.terms import TERMS, terms_of

router = APIRouter(tags=["generate"], route_class=PlainRoute)

TITLES = {
    "image-to-video": "Make a video from images",
    "inpaint": "Make parts of a video anew",
    "cinemagraph": "Let a part of an image move",
    "stylize": "Make a video in a style",
}


def route_of(model: type[VideoRequest]) -> Callable[..., Awaitable[Response]]:
    async def make_video(request: Request) -> Response:
        """Accepts the job at once; the video follows by polling, by events, or by `content`. Files come in a form, or
        in JSON as a data URL, base64, or the id of a file or video.
        """
        held = await resources_of(request)
        async with asked_of(model, request, held) as asked:
            terms = await terms_of(request)
            make_spec = partial(spec_with_inputs, asked.fields, held.catalogue)
            return await accept_video(held, terms, asked.fields, make_spec, InputTaker(held, asked.files))

    return make_video


for request_model, name in TASK_OF.items():
    router.add_api_route(
        f"/v1/{name}",
        route_of(request_model),
        methods=["POST"],
        status_code=202,
        summary=TITLES[name],
        name=name,
        operation_id=name.replace("-", "_"),
        openapi_extra={**form_request(request_model), **TERMS},
        responses={202: ACCEPTED, **problems(*WITH_FILES)},
    )
