"""`POST /v1/image-to-video`, `/v1/inpaint`, `/v1/cinemagraph`, `/v1/stylize`: images and videos become a job."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from service.api.accepting import accept_with_inputs, fingerprint_with_inputs
from service.api.idempotency import IdempotencyKey, scoped_key
from service.api.inputs import InputTaker
from service.api.limits import chosen_card, spec_of
from service.api.openapi import form_request, problems
from service.api.resources import Held, Resources
from service.api.routes.text_to_video import ACCEPTED, REFUSALS
from service.api.schemas import Video, VideoRequest
from service.api.task_body import Asked, task_body
from service.api.task_options import TASK_OF, check_options, options_of
from service.jobs.contract import JobSpec

router = APIRouter(tags=["generate"])

TITLES = {
    "image-to-video": "Make a video from images",
    "inpaint": "Make parts of a video anew",
    "cinemagraph": "Let a part of an image move",
    "stylize": "Make a video in a style",
}


async def spec_with_inputs(request: VideoRequest, held: Resources, inputs: InputTaker) -> JobSpec:
    """The job that a request of one of these tasks asks for, its inputs stored.

    Raises:
        ApiError: the model does not do the task, or a field or an input is refused; nothing is left behind then.
    """
    task = TASK_OF[type(request)]
    card = chosen_card(request.model, task, held.catalogue)
    spec = spec_of(request, card)
    check_options(request, card, spec.num_frames, spec.fps)
    try:
        options = await options_of(request, inputs)
    except BaseException:
        await inputs.undo()
        raise
    return JobSpec(**{**dict(spec), "task": task, "options": options})


def route_of(model: type[VideoRequest]) -> Callable[..., Awaitable[Video]]:
    task = TASK_OF[model]

    async def make_video(
        asked: Annotated[Asked[Any], Depends(task_body(model))],
        held: Held,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> Video:
        """Accepts the job at once; the video follows by polling, by events, or by `content`. Files come in a form, or
        in JSON as a data URL, base64, or the id of a file or video.
        """
        key = scoped_key(idempotency_key, task)
        inputs = InputTaker(held, asked.files)
        spec = await spec_with_inputs(asked.fields, held, inputs)
        fingerprint = fingerprint_with_inputs(asked.fields, spec)
        accepted = await accept_with_inputs(held, response, spec, inputs, key=key, fingerprint=fingerprint)
        return Video.of(accepted.job)

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
        openapi_extra=form_request(request_model),
        responses={
            202: ACCEPTED,
            **problems(*REFUSALS, "invalid_form", "file_too_large", "unsupported_media", "storage_unavailable"),
        },
    )
