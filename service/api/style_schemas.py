"""Styles as they travel over HTTP: what one is made from, and what is known of it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from service.api.media_input import ImageMedia
from service.api.paging import Listing
from service.api.schemas import RequestPart, Text, VideoError
from service.jobs.contract import Job, JobState
from service.styles.records import StyleRecord

NAME = r"^[a-z0-9][a-z0-9-]{0,49}$"
PENDING_SECONDS = 60
"""A style without a job is about to get one; after so long it never will."""


class StyleRequest(RequestPart):
    """Body of `POST /v1/styles`."""

    name: Annotated[str, Field(pattern=NAME)] = Field(
        description="What requests call it: small letters, digits and hyphens. One of yours may have it."
    )
    image: ImageMedia = Field(description="The picture whose look is learned.")
    prompt: Text = Field("", max_length=1000, description="What the picture shows, without its style; helps.")
    model: str | None = Field(None, description="A model id of `GET /v1/models`; the style fits this model alone.")


class StyleUrls(BaseModel):
    """Paths on this service. The job that makes the style is followed, and cancelled, as that of a video."""

    self: str
    events: str | None
    cancel: str | None


class Style(BaseModel):
    """A style learned from a picture. Times are unix seconds. It lives until it is deleted."""

    id: str
    object: Literal["style"] = "style"
    name: str
    model: str
    prompt: str
    status: JobState
    progress: int = Field(ge=0, le=100)
    created_at: int
    job: str | None = Field(description="Id of the job that makes it, as of a video; none if it was there already.")
    eta_seconds: float | None
    error: VideoError | None
    bytes: int | None = Field(description="Size of its weights, once there are.")
    urls: StyleUrls

    @classmethod
    def of(cls, style: StyleRecord, job: Job | None, now: float) -> Self:
        path = f"/v1/videos/{style.job}" if job is not None else None
        status = state_of(style, job, now)
        return cls(
            id=style.id,
            name=style.name,
            model=style.model,
            prompt=style.prompt,
            status=status,
            progress=100 if status is JobState.COMPLETED else job.progress if job else 0,
            created_at=style.created_at,
            job=style.job or None,
            eta_seconds=job.eta_seconds if job and not status.terminal else None,
            error=VideoError(**job.error.model_dump()) if job and job.error else None,
            bytes=style.bytes or None,
            urls=StyleUrls(
                self=f"/v1/styles/{style.id}",
                events=path and f"{path}/events",
                cancel=path and f"{path}/cancel",
            ),
        )


def state_of(style: StyleRecord, job: Job | None, now: float) -> JobState:
    """That of its job, until it has weights. A job that is past retention, or was never accepted, made none."""
    if style.key:
        return JobState.COMPLETED
    if job is not None:
        return job.state
    return JobState.QUEUED if not style.job and now - style.created_at < PENDING_SECONDS else JobState.FAILED


class StyleList(Listing[Style]):
    pass


class StyleDeleted(BaseModel):
    id: str
    object: Literal["style"] = "style"
    deleted: Literal[True] = True
