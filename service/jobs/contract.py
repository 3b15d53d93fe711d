"""The words that gateway and workers share: what a job asks for, the states it passes, what it gives back.

queued -> in_progress -> completed | failed | cancelled      (a terminal state never changes)
in_progress -> queued                                        (reaper after a lost lease, or a draining worker)
"""

import re
import secrets
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from service.jobs.admission import Limit

JOB_ID = re.compile(r"video_[a-z2-7]{26}")
BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8
"""A letter for the lowest five bits of each byte."""

Task = Literal["text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize"]
STYLE = "style"
"""What a job does that makes no video, but learns a style from a picture."""
Resize = Literal["cover", "contain", "stretch"]
"""How an input of another shape becomes a frame: cut to it, fitted into it with borders, or distorted."""
Chroma = Literal["4:2:0", "4:4:4"]
"""Colours of the file: one for each 2x2 pixels, as every player knows it, or one for each pixel."""


def new_job_id() -> str:
    """`video_` and 130 random bits in lower-case base32: cannot be guessed, safe in paths and keys."""
    return "video_" + secrets.token_bytes(26).translate(BASE32).decode()


def is_job_id(text: str) -> bool:
    return JOB_ID.fullmatch(text) is not None


class JobState(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


class ErrorCode(StrEnum):
    """Stable codes of `JobError`; clients may branch on them."""

    WORKER_CRASHED = "worker_crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    INVALID_OUTPUT = "invalid_output"
    INVALID_REQUEST = "invalid_request"
    MODEL_UNAVAILABLE = "model_unavailable"
    STORAGE_FULL = "storage_full"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal_error"


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """Parses stored JSON; fields that a newer release wrote are ignored, at every depth."""
        return cls.model_validate_json(text, extra="ignore")


Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def ascending(interval: tuple[float, float]) -> tuple[float, float]:
    """The interval, if it does not run backwards."""
    if interval[0] > interval[1]:
        raise PydanticCustomError("fields_conflict", "the first number must not be above the second")
    return interval


def as_tuple(value: Any) -> Any:
    """JSON has no tuples, and strict models take nothing else for one."""
    return tuple(value) if isinstance(value, list) else value


Interval = Annotated[tuple[Fraction, Fraction], BeforeValidator(as_tuple), AfterValidator(ascending)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class MediaRef(Contract):
    """An input that was validated and stored; `key` is one of `service.storage`."""

    key: str = Field(pattern=r"^(uploads|videos|styles)/[A-Za-z0-9._/-]{1,200}$")
    media_type: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)


class Keyframe(Contract):
    """An image that the video shows at one frame, counted from 0; -1 is the last frame."""

    image: MediaRef
    frame: int = Field(ge=-1, lt=10_000)


class Box(Contract):
    """A rectangle in fractions of the frame, from `start` up to `end` in seconds; None is the whole way."""

    x: Fraction
    y: Fraction
    width: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    height: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    start: Seconds | None = None
    end: Seconds | None = None

    @model_validator(mode="after")
    def has_duration(self) -> Self:
        if self.end is not None and self.end <= (self.start or 0):
            raise PydanticCustomError("fields_conflict", "end must be later than start")
        return self


class Margins(Contract):
    """What is added around the source, in fractions of the finished frame; at least one is greater than 0."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [side], "properties": {side: {"exclusiveMinimum": 0}}}
                for side in ("left", "top", "right", "bottom")
            ]
        }
    )

    left: Fraction = 0.0
    top: Fraction = 0.0
    right: Fraction = 0.0
    bottom: Fraction = 0.0

    @model_validator(mode="after")
    def leaves_room(self) -> Self:
        if self.left + self.right >= 1 or self.top + self.bottom >= 1:
            raise PydanticCustomError("fields_conflict", "the margins leave no room for the source")
        if not (self.left or self.right or self.top or self.bottom):
            raise ValueError("at least one margin must be greater than 0")
        return self


class InStyle(Contract):
    """`style`: one of the model's, or one that was learned; then its weights are given."""

    style: str | None = Field(None, min_length=1, max_length=100)
    style_strength: Fraction = 1.0
    style_weights: MediaRef | None = None


class TextToVideoOptions(InStyle):
    task: Literal["text-to-video"] = "text-to-video"


class ImageToVideoOptions(Contract):
    task: Literal["image-to-video"] = "image-to-video"
    keyframes: tuple[Keyframe, ...] = Field(min_length=1, max_length=32)
    resize: Resize = "cover"


class InpaintOptions(Contract):
    """White in the mask, the inside of the boxes, and the margins are made anew; the rest is kept."""

    task: Literal["inpaint"] = "inpaint"
    video: MediaRef
    mask: MediaRef | None = None
    boxes: tuple[Box, ...] = Field((), max_length=32)
    expand: Margins | None = None
    feather: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.0
    """Width of the soft border, in fractions of the frame's short side."""
    resize: Resize = "cover"

    @model_validator(mode="after")
    def has_region(self) -> Self:
        if self.mask is None and not self.boxes and self.expand is None:
            raise ValueError("give a mask, boxes or expand")
        return self


class CinemagraphOptions(Contract):
    """White in the mask and the inside of the boxes moves; the rest stands still."""

    task: Literal["cinemagraph"] = "cinemagraph"
    image: MediaRef
    mask: MediaRef | None = None
    boxes: tuple[Box, ...] = Field((), max_length=32)
    loop: bool = False
    resize: Resize = "cover"

    @model_validator(mode="after")
    def has_region(self) -> Self:
        if self.mask is None and not self.boxes:
            raise ValueError("give a mask or boxes")
        return self


class StylizeOptions(InStyle):
    """A source video made anew after the prompt (`strength`), a named style (`style_strength`), or both."""

    task: Literal["stylize"] = "stylize"
    video: MediaRef | None = None
    strength: Fraction | None = None

    @model_validator(mode="after")
    def has_source(self) -> Self:
        if self.video is None and self.style is None:
            raise ValueError("give a video or a style")
        return self


class StyleOptions(Contract):
    """A style learned from `image`, for the record `style_id`. shows: what is in the image, without its style."""

    task: Literal["style"] = "style"
    image: MediaRef
    style_id: str = Field(pattern=r"^style_[a-z2-7]{26}$")
    shows: str = Field("", max_length=32_000)


Options = Annotated[
    TextToVideoOptions | ImageToVideoOptions | InpaintOptions | CinemagraphOptions | StylizeOptions | StyleOptions,
    Field(discriminator="task"),
]


class JobSpec(Contract):
    """What a job asks for. Defaults and the seed are resolved before a job is accepted."""

    task: Task | Literal["style"] = "text-to-video"
    options: Options | None = None
    """What this task asks for beside the fields below; None only where there is nothing."""
    model: str = Field(min_length=1, max_length=200)
    prompt: str = Field(min_length=1, max_length=32_000)
    negative_prompt: str = Field("", max_length=32_000)
    seed: int = Field(ge=0, lt=2**32)
    num_frames: int = Field(ge=1, le=10_000)
    fps: int = Field(ge=1, le=240)
    width: int = Field(ge=8, le=8192)
    height: int = Field(ge=8, le=8192)
    num_inference_steps: int = Field(ge=1, le=10_000)
    guidance_scale: float = Field(ge=0, le=1000, allow_inf_nan=False)
    guidance_rescale: Fraction = 0.0
    guidance_interval: Interval = (0.0, 1.0)
    """Shares of the steps between which guidance acts."""
    scheduler: str | None = Field(None, pattern=r"^[A-Za-z0-9]{1,64}$")
    """A diffusers class; None is the model's own."""
    chroma: Chroma = "4:2:0"
    metadata: dict[str, str] = Field(default_factory=dict)
    """The client's own labels; given back, never read."""
    remixed_from: str | None = None
    """The id of the video that this one was made from."""

    @model_validator(mode="after")
    def options_of_the_task(self) -> Self:
        if self.options is None and self.task != "text-to-video":
            raise ValueError(f"{self.task} needs options")
        if self.options is not None and self.options.task != self.task:
            raise ValueError(f"options are those of {self.options.task}, the task is {self.task}")
        return self

    @property
    def cost(self) -> float:
        """Work in megapixels denoised: pixels x frames x steps / 1e6."""
        return self.width * self.height * self.num_frames * self.num_inference_steps / 1e6

    @property
    def shape(self) -> str:
        """Jobs of the same shape take about the same time per step."""
        if self.task == STYLE:
            return STYLE
        return f"{self.width}x{self.height}x{self.num_frames}"


class JobError(Contract):
    code: ErrorCode
    message: str
    retryable: bool = False


class JobResult(Contract):
    """Facts about the finished video; `path` is a key of `service.storage`, timings are seconds per stage.

    thumbnail, spritesheet: keys of its stills; empty for results of releases that made none.
    """

    path: str
    thumbnail: str = ""
    spritesheet: str = ""
    bytes: int
    sha256: str
    width: int
    height: int
    num_frames: int
    fps: int
    duration_seconds: float
    timings: dict[str, float] = Field(default_factory=dict)
    dtype: str = ""
    upscale: str = ""
    prompt_tokens_used: int | None = None
    prompt_tokens_max: int | None = None
    prompt_truncated: bool = False
    """True when the prompt had more tokens than the model reads; it was cut off."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all stored objects that belong to the result."""
        return tuple(filter(None, (self.path, self.thumbnail, self.spritesheet)))


class Job(Contract):
    """A job as its record holds it. Times are unix seconds by the clock of Redis, progress is 0-100."""

    id: str
    spec: JobSpec
    state: JobState
    attempt: int = 0
    progress: int = 0
    stage: str = ""
    step: int = 0
    steps_total: int = 0
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None
    worker: str | None = None
    error: JobError | None = None
    result: JobResult | None = None
    cancel_requested: bool = False
    queue_position: int | None = None
    """Jobs ahead in the queue, while queued."""
    eta_seconds: float | None = None
    """Seconds until the video is expected, where speed is known."""
    owner: str = ""
    key_id: str = ""
    """The API key that asked for it, and whose owner can see it; both empty where no keys are asked for."""
    device_seconds: float = 0.0
    """How long its attempts have had a worker, those that were lost included; known once an attempt has ended."""
    request_id: str = ""
    traceparent: str = ""
    """The request that made the job, and the span of it where it is traced: for logs and traces alone."""


class EventName(StrEnum):
    STATE = "state"
    PROGRESS = "progress"
    PREVIEW = "preview"


class JobEvent(Contract):
    """One entry of a job's event stream; `id` is what `Last-Event-ID` takes."""

    id: str
    event: EventName
    data: dict[str, Any]


class WorkerState(StrEnum):
    """Only `ready` and `busy` workers have a warm model."""

    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    FAILED = "failed"


class WorkerInfo(Contract):
    """A worker that was seen lately."""

    name: str
    state: WorkerState
    models: tuple[str, ...] = ()
    seen_seconds_ago: float
    detail: str = ""
    """Why the models could not be loaded, when they could not."""
    device: str = ""


class Accepted(Contract):
    job: Job
    replayed: bool
    """True when the same request was accepted before under the same idempotency key."""
    limits: tuple[Limit, ...] = ()
    """What is left of the account's quotas after this job; empty for a replay."""
