"""What travels over HTTP: request bodies as clients send them, and the objects that they get back.

`Video` has the field names of OpenAI's Videos API; the fields below `error` are additions that its clients ignore.
"""

import re
import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from service.api.paging import Page
from service.jobs.contract import Chroma, Interval, Job, JobSpec, JobState, MediaRef

MAX_SEED = 2**32 - 1
CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # all but tab, newline, return
CONTROL_CHARACTER = re.compile(f"[{CONTROL}]")
ANYTHING = f"^[^{CONTROL}]*$"
SOMETHING = rf"^[^{CONTROL}]*[^{CONTROL}\s][^{CONTROL}]*$"
BYTE_ORDER_MARK = "\ufeff"


def clean_text(text: str) -> str:
    """NFC without surrounding white space. Raises ValueError for control characters (NUL, escape, …)."""
    if found := CONTROL_CHARACTER.search(text):
        raise ValueError(f"must not contain the control character U+{ord(found[0]):04X}")
    return unicodedata.normalize("NFC", text).strip().strip(BYTE_ORDER_MARK)


def not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def matching(pattern: str) -> Any:
    """Has the JSON Schema of a type say what its validators see to."""
    return Field(json_schema_extra={"pattern": pattern})


Text = Annotated[str, AfterValidator(clean_text), matching(ANYTHING)]
Words = Annotated[str, AfterValidator(clean_text), AfterValidator(not_empty), matching(SOMETHING)]
"""Text with something in it."""
Metadata = Annotated[
    dict[Annotated[Words, Field(max_length=64)], Annotated[Text, Field(max_length=512)]],
    Field(max_length=16),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 16,
            "propertyNames": {"pattern": SOMETHING, "maxLength": 64},
            "additionalProperties": {"type": "string", "pattern": ANYTHING, "maxLength": 512},
        }
    ),
]


class RequestPart(BaseModel):
    """Of JSON bodies: nothing is converted, nothing unknown is let through."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class VideoRequest(RequestPart):
    """What all tasks take. What is left out takes the model's default; the limits are the model's too, and
    `service.api.limits` holds them.
    """

    prompt: Words = Field(
        min_length=1, description="What the video shows. Control characters are refused; stored in Unicode form NFC."
    )
    negative_prompt: Text = Field("", description="What the video should not show.")
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="Same prompt, seed and settings give the same pixels on the same machine and dtype. "
        "Left out, one is drawn and given back.",
    )
    num_frames: int | None = Field(None, description="Length in frames.")
    fps: int | None = Field(None, description="Frames per second.")
    size: str | None = Field(None, description="`WIDTHxHEIGHT` in pixels.")
    num_inference_steps: int | None = Field(None, description="Denoising steps.")
    guidance_scale: float | None = Field(None, description="Weight of the prompt; 1 switches guidance off.")
    guidance_rescale: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How far the contrast of guided estimates is brought to that of unguided ones.",
    )
    guidance_interval: Interval = Field(
        (0.0, 1.0),
        description="Shares of the steps between which guidance acts: two ascending numbers from 0 to 1.",
    )
    scheduler: str | None = Field(None, description="A diffusers scheduler in place of the model's own, by its class.")
    chroma: Chroma = Field(
        "4:2:0",
        description="Colours of the MP4: `4:2:0`, one for each 2x2 pixels, plays everywhere; `4:4:4`, one for each "
        "pixel, keeps coloured edges sharp and does not play in all browsers.",
    )
    model: str | None = Field(None, description="A model id of `GET /v1/models`.")
    priority: Literal["high", "normal", "low"] = Field(
        "normal", description="All jobs of a higher one go first; `high` needs an API key with the scope `priority`."
    )
    metadata: Metadata = Field({}, description="Your own labels: 16 at most, given back with the video.")


class TextToVideoRequest(VideoRequest):
    """Body of `POST /v1/text-to-video`."""

    style: Annotated[Words, Field(max_length=100)] | None = Field(
        None, description="The name of a style that the model has, or the name or id of one of yours."
    )
    style_strength: float = Field(1.0, ge=0, le=1, description="Weight of the style.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a red ball bouncing on a beach"},
                {"prompt": "a knight riding through the countryside", "seed": 7, "num_frames": 80, "size": "256x256"},
            ]
        },
    )


class VideoError(BaseModel):
    """Why a job failed; `code` is one of the job errors."""

    code: str
    message: str
    type: str | None = "server_error"
    param: str | None = None
    retryable: bool = Field(description="Whether the same request may succeed when it is sent again.")


class VideoUrls(BaseModel):
    """Paths on this service."""

    self: str
    content: str
    events: str
    cancel: str

    @classmethod
    def of(cls, video_id: str) -> "VideoUrls":
        path = f"/v1/videos/{video_id}"
        return cls(self=path, content=f"{path}/content", events=f"{path}/events", cancel=f"{path}/cancel")


class VideoUsage(BaseModel):
    """Seconds that the job waited before its latest attempt and ran in it, and the attempts it took. `device_seconds`
    are those of all attempts: what `/v1/usage` sums up.
    """

    queue_seconds: float
    run_seconds: float
    device_seconds: float
    attempts: int


class VideoOutput(BaseModel):
    """Facts about the finished file."""

    bytes: int
    sha256: str
    width: int
    height: int
    num_frames: int
    fps: int
    duration_seconds: float
    dtype: str = Field(description="Number format that the model ran in.")


class Video(BaseModel):
    """A video job and, once completed, its result. Times are unix seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "video_abcdefghijklmnopqrstuvwxyz",
                    "object": "video",
                    "status": "in_progress",
                    "progress": 40,
                    "created_at": 1790000000,
                    "completed_at": None,
                    "expires_at": None,
                    "model": "lumiere-mini",
                    "prompt": "a red ball bouncing on a beach",
                    "seconds": "5",
                    "size": "256x256",
                    "remixed_from_video_id": None,
                    "error": None,
                    "task": "text-to-video",
                    "options": {},
                    "metadata": {},
                    "negative_prompt": "",
                    "seed": 7,
                    "num_frames": 80,
                    "fps": 16,
                    "num_inference_steps": 20,
                    "guidance_scale": 4.0,
                    "guidance_rescale": 0.0,
                    "guidance_interval": [0.0, 1.0],
                    "scheduler": None,
                    "started_at": 1790000002,
                    "queue_position": None,
                    "eta_seconds": 6.5,
                    "stage": "denoise",
                    "step": 8,
                    "steps": 20,
                    "attempt": 1,
                    "cancel_requested": False,
                    "upscale": "bicubic",
                    "timings": {},
                    "usage": None,
                    "output": None,
                    "urls": {
                        "self": "/v1/videos/video_abcdefghijklmnopqrstuvwxyz",
                        "content": "/v1/videos/video_abcdefghijklmnopqrstuvwxyz/content",
                        "events": "/v1/videos/video_abcdefghijklmnopqrstuvwxyz/events",
                        "cancel": "/v1/videos/video_abcdefghijklmnopqrstuvwxyz/cancel",
                    },
                }
            ]
        },
    )

    id: str
    object: Literal["video"] = "video"
    status: JobState
    progress: int = Field(ge=0, le=100)
    created_at: int
    completed_at: int | None
    expires_at: int | None = Field(description="When record and file go; known once the job has ended.")
    model: str
    prompt: str
    seconds: str = Field(description="Length in seconds, as OpenAI writes it: a decimal string.")
    size: str
    remixed_from_video_id: str | None
    error: VideoError | None

    task: str
    options: dict[str, Any] = Field(description="What the task asks for beside the fields here; inputs by their ids.")
    metadata: dict[str, str]
    negative_prompt: str
    seed: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    guidance_rescale: float
    guidance_interval: tuple[float, float]
    scheduler: str | None = Field(description="Null where it is the model's own.")
    started_at: int | None = Field(description="Start of the latest attempt.")
    queue_position: int | None = Field(description="Jobs ahead, while queued.")
    eta_seconds: float | None = Field(description="Seconds until the video is expected, where the speed is known.")
    stage: str
    step: int
    steps: int
    attempt: int
    cancel_requested: bool
    upscale: str | None = Field(description="How the model's frames were brought to `size`; known once completed.")
    timings: dict[str, float] = Field(description="Seconds per stage; empty until completed.")
    usage: VideoUsage | None
    output: VideoOutput | None
    urls: VideoUrls

    @classmethod
    def of(cls, job: Job) -> Self:
        spec, result = job.spec, job.result
        return cls(
            id=job.id,
            status=job.state,
            progress=job.progress,
            created_at=int(job.created_at),
            completed_at=whole(job.completed_at),
            expires_at=whole(job.expires_at),
            model=spec.model,
            prompt=spec.prompt,
            seconds=decimal(spec.num_frames / spec.fps),
            size=f"{spec.width}x{spec.height}",
            remixed_from_video_id=spec.remixed_from,
            error=VideoError(**job.error.model_dump()) if job.error else None,
            task=spec.task,
            options=shown_options(spec),
            metadata=spec.metadata,
            negative_prompt=spec.negative_prompt,
            seed=spec.seed,
            num_frames=spec.num_frames,
            fps=spec.fps,
            num_inference_steps=spec.num_inference_steps,
            guidance_scale=spec.guidance_scale,
            guidance_rescale=spec.guidance_rescale,
            guidance_interval=spec.guidance_interval,
            scheduler=spec.scheduler,
            started_at=whole(job.started_at),
            queue_position=job.queue_position,
            eta_seconds=job.eta_seconds,
            stage=job.stage,
            step=job.step,
            steps=job.steps_total,
            attempt=job.attempt,
            cancel_requested=job.cancel_requested,
            upscale=result.upscale if result else None,
            timings=result.timings if result else {},
            usage=usage(job),
            output=VideoOutput(**result.model_dump(include=set(VideoOutput.model_fields))) if result else None,
            urls=VideoUrls.of(job.id),
        )


def shown_options(spec: JobSpec) -> dict[str, Any]:
    """The options without the task; inputs as the ids that clients know them by."""
    if spec.options is None:
        return {}
    return {name: shown(getattr(spec.options, name)) for name in type(spec.options).model_fields if name != "task"}


def shown(value: Any) -> Any:
    match value:
        case MediaRef():
            return value.key.split("/")[1]
        case tuple():
            return [shown(part) for part in value]
        case BaseModel():
            return {name: shown(getattr(value, name)) for name in type(value).model_fields}
    return value


def whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def decimal(number: float) -> str:
    """Shortest form with at most three decimals: 5.0 is "5", 2/3 is "0.667"."""
    return f"{number:.3f}".rstrip("0").rstrip(".")


def usage(job: Job) -> VideoUsage | None:
    if job.started_at is None or job.completed_at is None:
        return None
    return VideoUsage(
        queue_seconds=round(job.started_at - job.created_at, 3),
        run_seconds=round(job.completed_at - job.started_at, 3),
        device_seconds=job.device_seconds,
        attempts=job.attempt,
    )


class VideoLink(BaseModel):
    """A URL that needs no API key until it expires."""

    object: Literal["video.link"] = "video.link"
    url: str = Field(description="A path of this service, or the URL of the object store.")
    expires_at: int = Field(description="Unix seconds.")


class VideoList(Page[Video]):
    """One page of videos."""


class VideoDeleted(BaseModel):
    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Check(BaseModel):
    ok: bool
    detail: str


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    checks: dict[str, Check]


class FieldProblem(BaseModel):
    code: str
    param: str | None
    detail: str


class OpenAIError(BaseModel):
    """The same in the words of OpenAI's API, whose clients read this."""

    message: str
    type: str
    param: str | None
    code: str


class Problem(BaseModel):
    """An error after RFC 9457."""

    type: str = Field(description="Path on this service that describes the code.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; branch on this.")
    param: str | None = Field(description="The field or header at fault.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str
    error: OpenAIError
    errors: list[FieldProblem] | None = Field(
        None, description="Every bad field, where there is more than one to name."
    )
    checks: dict[str, Check] | None = Field(None, description="Only with `not_ready`.")
