"""`/v1/styles`: a style learned from one picture, by a job of its own; then any video of its owner may be in it."""

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from service.api.errors import ApiError
from service.api.inputs import InputTaker
from service.api.limits import chosen_card
from service.api.openapi import REQUEST_ID, Responses, form_request, problems
from service.api.resources import Held, Resources, in_time
from service.api.routes.text_to_video import WITH_FILES
from service.api.style_schemas import Style, StyleDeleted, StyleList, StyleRequest, state_of
from service.api.task_body import Asked, task_body
from service.jobs.admission import QuotaExceeded
from service.jobs.contract import Job, JobSpec, JobState, MediaRef, StyleOptions
from service.jobs.models import ModelCard
from service.jobs.record import QueueFull
from service.styles.records import StyleRecord

router = APIRouter(tags=["styles"], prefix="/v1/styles")

STEPS = 120
"""Of training."""
WORK_FRAMES = 12
"""A step of training costs about as much as one of denoising so many frames."""
ANSWER: Responses = {200: {"headers": REQUEST_ID}}
ONE = ("style_not_found", "redis_unavailable")

StyleId = Annotated[str, Path(description="As given by the service, `style_…`, or the name of a style of yours.")]


async def existing_style(style_id: StyleId, held: Held) -> StyleRecord:
    style = await in_time(held.styles.named(style_id))
    if style is None:
        raise ApiError("style_not_found", "there is no style with this id or name", param="style_id")
    return style


ExistingStyle = Annotated[StyleRecord, Depends(existing_style)]


@router.post(
    "",
    status_code=202,
    summary="Learn a style from a picture",
    openapi_extra=form_request(StyleRequest),
    responses={
        202: {"headers": REQUEST_ID, "description": "Its job is queued, or it is there already."},
        **problems(*WITH_FILES, "style_name_taken"),
    },
)
async def create_style(
    asked: Annotated[Asked[StyleRequest], Depends(task_body(StyleRequest))], held: Held, response: Response
) -> Style:
    """The style is there when its `status` is `completed`; then `style` in any request for a video may name it. What
    was learned before from the same picture is not learned again.
    """
    card = chosen_card(asked.fields.model, "stylize", held.catalogue)
    if asked.fields.name in card.styles:
        raise ApiError("style_name_taken", f"{card.id} is shipped with a style of this name", param="name")
    inputs = InputTaker(held, asked.files)
    image = await inputs.take(asked.fields.image, "image", "image")
    try:
        style, fresh = await claimed(held, asked.fields, card, image)
        if fresh:
            style = await begun(held, style, card, image)
    except (ApiError, QueueFull, QuotaExceeded):
        await inputs.undo()
        raise
    if not fresh or style.key:
        await inputs.undo()
    response.headers["Location"] = f"/v1/styles/{style.id}"
    return await shown(held, style)


async def claimed(held: Resources, asked: StyleRequest, card: ModelCard, image: MediaRef) -> tuple[StyleRecord, bool]:
    """The style of this name, and whether it is new: one that has failed makes room.

    Raises:
        ApiError: another style has the name.
    """
    weights = await in_time(held.records.weights_of(card.id))  # a style fits these alone
    content = hashlib.sha256(json.dumps([card.id, weights, image.sha256, asked.prompt, STEPS]).encode()).hexdigest()
    while True:
        style, fresh = await in_time(
            held.styles.claim(name=asked.name, model=card.id, prompt=asked.prompt, content=content)
        )
        if fresh:
            return style, True
        if (await state(held, style)) in (JobState.FAILED, JobState.CANCELLED):
            await in_time(held.styles.delete(style))
        elif style.content == content:
            return style, False
        else:
            raise ApiError("style_name_taken", "another style of yours has this name", param="name")


async def begun(held: Resources, style: StyleRecord, card: ModelCard, image: MediaRef) -> StyleRecord:
    """A new style with the weights that were learned from the same before, or with its job accepted.

    Raises:
        QueueFull, QuotaExceeded, RedisUnavailable: there is no style then.
    """
    known: Sequence[StyleRecord] = await in_time(held.styles.list())
    twin = next((other for other in known if other.key and other.content == style.content), None)
    if twin is not None:
        return await in_time(held.styles.takes_weights(style, twin))
    width, height = map(int, card.defaults.size.split("x"))
    spec = JobSpec(
        task="style",
        options=StyleOptions(image=image, style_id=style.id, shows=style.prompt),
        model=card.id,
        prompt=style.name,
        seed=0,
        num_frames=WORK_FRAMES,
        fps=card.defaults.fps,
        width=width,
        height=height,
        num_inference_steps=STEPS,
        guidance_scale=1.0,
    )
    try:
        accepted = await in_time(held.records.accept(spec))
    except BaseException:
        await in_time(held.styles.delete(style))
        raise
    return await in_time(held.styles.has_job(style, accepted.job.id))


@router.get("", summary="List styles", responses={**ANSWER, **problems("redis_unavailable")})
async def list_styles(held: Held) -> StyleList:
    """Those that were made here, the newest first. What a model is shipped with is told by `GET /v1/models`."""
    styles: Sequence[StyleRecord] = await in_time(held.styles.list())
    return StyleList(data=[await shown(held, style) for style in styles])


@router.get("/{style_id}", summary="Look at a style", responses={**ANSWER, **problems(*ONE)})
async def get_style(style: ExistingStyle, held: Held) -> Style:
    return await shown(held, style)


@router.delete("/{style_id}", summary="Delete a style", responses={**ANSWER, **problems(*ONE, "storage_unavailable")})
async def delete_style(style: ExistingStyle, held: Held) -> StyleDeleted:
    """Removes it at once; its job is cancelled, and jobs that wait for it will fail."""
    if not style.key and style.job:
        await in_time(held.records.cancel(style.job))
    await in_time(held.styles.delete(style))
    if style.key and not await in_time(held.styles.stand_on(style.key)):
        await held.storage.delete(style.key)
    return StyleDeleted(id=style.id)


async def shown(held: Resources, style: StyleRecord) -> Style:
    return Style.of(style, await job_of(held, style), time.time())


async def state(held: Resources, style: StyleRecord) -> JobState:
    return state_of(style, await job_of(held, style), time.time())


async def job_of(held: Resources, style: StyleRecord) -> Job | None:
    return await in_time(held.records.get(style.job)) if style.job else None
