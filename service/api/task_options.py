"""From the body of a task to the options of its job: inputs stored, and what only the whole request shows checked."""

from collections.abc import Mapping
from typing import Any

from service.api.errors import ApiError
from service.api.inputs import InputTaker
from service.api.limits import chosen_card, common_fields
from service.api.resources import in_time
from service.api.schemas import TextToVideoRequest, VideoRequest
from service.api.task_requests import (
    CinemagraphRequest,
    ImageToVideoRequest,
    InpaintRequest,
    KeyframeInput,
    StylizeRequest,
)
from service.jobs.contract import (
    Box,
    CinemagraphOptions,
    ImageToVideoOptions,
    InpaintOptions,
    JobSpec,
    Keyframe,
    Options,
    StylizeOptions,
    Task,
    TextToVideoOptions,
)
from service.jobs.models import ModelCard, style_slug
from service.styles.records import is_style_id

STYLE_RETRY_SECONDS = 5
Styled = dict[str, Any]
"""The fields of `InStyle`; empty without a style."""
TASK_OF: dict[type[VideoRequest], Task] = {
    ImageToVideoRequest: "image-to-video",
    InpaintRequest: "inpaint",
    CinemagraphRequest: "cinemagraph",
    StylizeRequest: "stylize",
}


async def spec_with_inputs(request: VideoRequest, catalogue: Mapping[str, ModelCard], inputs: InputTaker) -> JobSpec:
    """The job that a request of any task asks for, its inputs stored.

    Raises:
        ApiError: the model does not do the task, or a field or an input is refused.
    """
    task = TASK_OF.get(type(request), "text-to-video")
    card = chosen_card(request.model, task, catalogue)
    fields = common_fields(request, card)
    check_options(request, card, fields["num_frames"], fields["fps"])
    style = await style_of(request, card, inputs)
    options = await options_of(request, inputs, style, fields["num_frames"], fields["fps"])
    return JobSpec(**fields, task=task, options=options)


def check_options(request: VideoRequest, card: ModelCard, num_frames: int, fps: int) -> None:
    """Refuses what makes no sense, before any file is stored. Raises ApiError."""
    match request:
        case ImageToVideoRequest():
            check_keyframes(request, num_frames, fps)
        case InpaintRequest():
            if request.mask is None and not request.boxes and request.expand is None:
                raise ApiError("missing_field", "give a mask, boxes or expand: what is made anew", param="mask")
            check_boxes(request.boxes, num_frames / fps)
        case CinemagraphRequest():
            if request.mask is None and not request.boxes:
                raise ApiError("missing_field", "give a mask or boxes: what moves", param="mask")
            check_boxes(request.boxes, num_frames / fps)
        case StylizeRequest():
            if request.video is None and request.style is None:
                raise ApiError("missing_field", "give a video, a style, or both", param="video")


async def style_of(request: VideoRequest, card: ModelCard, inputs: InputTaker) -> Styled:
    """The style that a request names, with its weights where it was learned.

    Raises:
        ApiError: there is none of this name, it is for another model, or it is not finished.
    """
    if not isinstance(request, TextToVideoRequest | StylizeRequest) or request.style is None:
        return {}
    asked = {"style": request.style, "style_strength": request.style_strength}
    shipped = {style_slug(name): name for name in card.styles}
    if style_slug(request.style) in shipped:
        return {**asked, "style": shipped[style_slug(request.style)]}
    style = await in_time(inputs.held.styles.named(request.style))
    if style is None and is_style_id(request.style):
        raise ApiError("style_not_found", "there is no style with this id", param="style")
    if style is None or style.model != card.id:
        known = ", ".join(card.styles) or "none"
        detail = f"style must be one of those of {card.id} ({known}) or one that was learned for it"
        raise ApiError("invalid_field", detail, param="style")
    if style.weights is None:
        raise ApiError("style_not_ready", "the style is not finished", param="style", retry_after=STYLE_RETRY_SECONDS)
    return {**asked, "style": style.name, "style_weights": style.weights}


def check_keyframes(request: ImageToVideoRequest, num_frames: int, fps: int) -> None:
    frames = [0] * (request.image is not None) + [num_frames - 1] * (request.last_image is not None)
    for number, keyframe in enumerate(request.keyframes):
        frames.append(frame_of(keyframe, f"keyframes.{number}", num_frames, fps) % num_frames)
    if not frames:
        raise ApiError("missing_field", "give an image, a last_image or keyframes", param="image")
    if len(set(frames)) < len(frames):
        raise ApiError("fields_conflict", "two images are given for the same frame", param="keyframes")


def frame_of(keyframe: KeyframeInput, name: str, num_frames: int, fps: int) -> int:
    """Its number. Raises ApiError naming the field of the keyframe `name` that is missing or too large."""
    if keyframe.frame is not None and keyframe.time is not None:
        raise ApiError("fields_conflict", f"{name} must have a frame or a time, not both", param=f"{name}.time")
    if keyframe.frame is not None:
        if keyframe.frame >= num_frames:
            detail = f"{name}.frame must be from -1 to {num_frames - 1}, as the video has {num_frames} frames"
            raise ApiError("fields_conflict", detail, param=f"{name}.frame")
        return keyframe.frame
    if keyframe.time is None:
        raise ApiError("missing_field", f"{name} needs a frame or a time", param=f"{name}.frame")
    if keyframe.time >= num_frames / fps:
        detail = f"{name}.time must be less than the {num_frames / fps:g} s of the video"
        raise ApiError("fields_conflict", detail, param=f"{name}.time")
    return min(round(keyframe.time * fps), num_frames - 1)


def check_boxes(boxes: list[Box], seconds: float) -> None:
    for number, box in enumerate(boxes):
        if box.start is not None and box.start >= seconds:
            param = f"boxes.{number}.start"
            raise ApiError("fields_conflict", f"{param} must be less than the {seconds:g} s of the video", param=param)


async def options_of(
    request: VideoRequest, inputs: InputTaker, style: Styled, num_frames: int, fps: int
) -> Options | None:
    """The options of the request's task, its inputs stored; None for text alone. Raises ApiError."""
    match request:
        case ImageToVideoRequest():
            return ImageToVideoOptions(
                keyframes=await keyframes_of(request, inputs, num_frames, fps), resize=request.resize
            )
        case InpaintRequest():
            return InpaintOptions(
                video=await inputs.take(request.video, "video", "video"),
                mask=await inputs.take_optional(request.mask, "mask", "image", "video"),
                boxes=tuple(request.boxes),
                expand=request.expand,
                feather=request.feather,
                resize=request.resize,
            )
        case CinemagraphRequest():
            return CinemagraphOptions(
                image=await inputs.take(request.image, "image", "image"),
                mask=await inputs.take_optional(request.mask, "mask", "image"),
                boxes=tuple(request.boxes),
                loop=request.loop,
                resize=request.resize,
            )
        case StylizeRequest():
            return StylizeOptions(
                video=await inputs.take_optional(request.video, "video", "video"),
                strength=request.strength,
                **style,
            )
    return TextToVideoOptions(**style) if style else None


async def keyframes_of(
    request: ImageToVideoRequest, inputs: InputTaker, num_frames: int, fps: int
) -> tuple[Keyframe, ...]:
    named = [("image", request.image, 0), ("last_image", request.last_image, -1)]
    for number, part in enumerate(request.keyframes):
        name = f"keyframes.{number}"
        named.append((f"{name}.image", part.image, frame_of(part, name, num_frames, fps)))
    return tuple(
        [
            Keyframe(image=await inputs.take(source, param, "image"), frame=frame)
            for param, source, frame in named
            if source is not None
        ]
    )
