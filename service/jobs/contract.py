"""The words that gateway and workers share: what a job asks for, the states it passes, what it gives back.

queued -> in_progress -> completed | failed | cancelled      (a terminal state never changes)
in_progress -> queued                                        (reaper after a lost lease, or a draining worker)
"""

import base64
import re
import secrets
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

JOB_ID = re.compile(r"video_[a-z2-7]{26}")
TolerantFields: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


def new_job_id() -> str:
    """`video_` and 128 random bits in lower-case base32: cannot be guessed, safe in paths and keys."""
    return "video_" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


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
        """Parses stored JSON; fields that a newer release wrote are ignored."""
        known = TolerantFields.validate_json(text)
        return cls.model_validate({name: known[name] for name in cls.model_fields if name in known})


class JobSpec(Contract):
    """Everything that decides the pixels. Defaults and the seed are resolved before a job is accepted."""

    task: Literal["text-to-video"] = "text-to-video"
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

    @property
    def cost(self) -> float:
        """Work in megapixels denoised: pixels x frames x steps / 1e6."""
        return self.width * self.height * self.num_frames * self.num_inference_steps / 1e6

    @property
    def shape(self) -> str:
        """Jobs of the same shape take about the same time per step."""
        return f"{self.width}x{self.height}x{self.num_frames}"


class JobError(Contract):
    code: ErrorCode
    message: str
    retryable: bool = False


class JobResult(Contract):
    """Facts about the finished video; `path` is a key of `service.storage`, timings are seconds per stage."""

    path: str
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


class EventName(StrEnum):
    STATE = "state"
    PROGRESS = "progress"


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
