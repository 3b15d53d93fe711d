"""Bodies of OpenAI's Videos API, with the fields of all tasks as additions, and what each stands for."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from service.api.errors import ApiError
from service.api.media_input import ImageMedia, Media, VideoMedia
from service.api.schemas import Metadata, RequestPart, Text, TextToVideoRequest, VideoRequest, Words
from service.api.task_body import validated
from service.api.task_requests import (
    Boxes,
    CinemagraphRequest,
    ImageToVideoRequest,
    InpaintRequest,
    KeyframeInput,
    StylizeRequest,
)
from service.jobs.contract import Fraction, Margins, Resize
from service.jobs.models import ModelCard
from service.uploads.media import Kind

TASKS: dict[str, type[VideoRequest]] = {
    "text-to-video": TextToVideoRequest,
    "image-to-video": ImageToVideoRequest,
    "inpaint": InpaintRequest,
    "cinemagraph": CinemagraphRequest,
    "stylize": StylizeRequest,
}
SHORT_NAMES = {"t2v": "text-to-video", "i2v": "image-to-video"}
REFERENCE_FIELD = {"image-to-video": "image", "cinemagraph": "image", "inpaint": "video", "stylize": "video"}
"""What `input_reference` is to each task."""

TaskName = Annotated[
    Literal["text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize"],
    BeforeValidator(lambda name: SHORT_NAMES.get(name, name) if isinstance(name, str) else name),
]


def number_of_text(value: Any) -> Any:
    """OpenAI writes seconds as text."""
    try:
        return float(value) if isinstance(value, str) and len(value) < 32 else value
    except ValueError:
        return value


LengthInSeconds = Annotated[
    float,
    BeforeValidator(number_of_text, json_schema_input_type=str | float),
    Field(gt=0, le=3600, allow_inf_nan=False),
]


class CreateVideoRequest(VideoRequest):
    """Body of `POST /v1/videos`: OpenAI's fields, and those of the task. The task follows from the fields that are
    given, unless it is named.
    """

    seconds: LengthInSeconds | None = Field(None, description="Length; `num_frames` says it exactly.")
    input_reference: Media | None = Field(None, description="The image or video to begin with.")
    task: TaskName | None = Field(None, description="Left out, it follows from the other fields.")
    image: ImageMedia | None = None
    last_image: ImageMedia | None = None
    keyframes: list[KeyframeInput] = Field([], max_length=32)
    video: VideoMedia | None = None
    mask: Media | None = None
    boxes: Boxes = Field([])
    expand: Margins | None = None
    feather: float = Field(0.0, ge=0, le=0.5)
    loop: bool = False
    resize: Resize = "cover"
    style: Annotated[Words, Field(max_length=100)] | None = None
    strength: Fraction | None = None
    style_strength: Fraction = 1.0

    def chosen_task(self, reference: Kind | None) -> str:
        """The task that is named, else the one that the inputs are for. `reference`: what `input_reference` is."""
        if self.task is not None:
            return self.task
        has_video = self.video is not None or reference == "video"
        if self.mask is not None or self.boxes or self.expand is not None:
            return "inpaint" if has_video else "cinemagraph"
        if has_video or self.style is not None:
            return "stylize"
        if self.input_reference is not None or self.image is not None or self.last_image is not None or self.keyframes:
            return "image-to-video"
        return "text-to-video"


class EditVideoRequest(CreateVideoRequest):
    """Body of `POST /v1/videos/edits`: a video made anew after the prompt, whole or in the region given."""

    video: VideoMedia

    def chosen_task(self, reference: Kind | None) -> str:
        return self.task or ("inpaint" if self.mask is not None or self.boxes or self.expand is not None else "stylize")


class RemixVideoRequest(RequestPart):
    """Body of `POST /v1/videos/{video_id}/remix`."""

    prompt: Words = Field(min_length=1, max_length=32_000)
    metadata: Metadata = Field({})


class ExtendVideoRequest(RequestPart):
    """Body of `POST /v1/videos/extensions`."""

    prompt: Words = Field(min_length=1, max_length=32_000)
    seconds: LengthInSeconds
    video: VideoMedia


class CreateCharacterRequest(RequestPart):
    """Body of `POST /v1/videos/characters`."""

    name: Text = Field(min_length=1, max_length=200)
    video: VideoMedia


def as_task(asked: CreateVideoRequest, task: str) -> VideoRequest:
    """The request of the native route of this task that stands for the same.

    Raises:
        ApiError: a field that this task does not have; one that it needs is missing.
    """
    model = TASKS[task]
    given = {name: getattr(asked, name) for name in asked.model_fields_set - {"task", "seconds"}}
    given = {name: value for name, value in given.items() if value is not None}
    reference = given.pop("input_reference", None)
    if reference is not None:
        field = REFERENCE_FIELD.get(task)
        if field is None or field in given:
            detail = f"input_reference stands for {field}, which is given too" if field else f"{task} takes no input"
            raise ApiError("invalid_field", detail, param="input_reference")
        given[field] = reference
    for name in given:
        if name not in model.model_fields:
            raise ApiError("unknown_field", f"{name} is not a field of {task}", param=name)
    return validated(model, given, strict=True)


def with_length(request: VideoRequest, seconds: float | None, card: ModelCard) -> VideoRequest:
    """The request with `seconds` as frames. Raises ApiError when the model makes no video of that length."""
    if seconds is None:
        return request
    if request.num_frames is not None:
        raise ApiError("invalid_field", "give seconds or num_frames, not both", param="seconds")
    fps = card.defaults.fps if request.fps is None else request.fps
    frames = round(seconds * fps)
    low, high = card.limits.num_frames
    if fps > 0 and not low <= frames <= high:
        limits = f"from {low / fps:.3g} to {high / fps:.3g} at {fps} frames per second"
        raise ApiError("invalid_field", f"seconds must be {limits} with {card.id}", param="seconds")
    return request.model_copy(update={"num_frames": frames})
