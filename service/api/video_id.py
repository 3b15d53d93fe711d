"""From the id in a path to the job: nothing is looked up, and no key is built, for what is not an id of ours."""

from typing import Annotated

from fastapi import Depends, Path

from service.api.errors import ApiError
from service.api.resources import Held, in_time
from service.jobs.contract import Job, JobResult, is_job_id

UNKNOWN_WAIT_SECONDS = 2


async def well_formed(video_id: Annotated[str, Path(description="As given by the service, `video_…`.")]) -> str:
    if not is_job_id(video_id):
        raise not_found()
    return video_id


VideoId = Annotated[str, Depends(well_formed)]


async def existing(video_id: VideoId, held: Held) -> Job:
    return found(await in_time(held.records.get(video_id)))


ExistingJob = Annotated[Job, Depends(existing)]


def found(job: Job | None) -> Job:
    """The job, or the 404 that says nothing about other people's ids."""
    if job is None:
        raise not_found()
    return job


def not_found() -> ApiError:
    return ApiError("video_not_found", "there is no video with this id", param="video_id")


def finished(job: Job, param: str | None = None) -> JobResult:
    """The result. Raises ApiError, which names `param`, when there is none yet, or there will be none."""
    if job.result is not None:
        return job.result
    if job.state.terminal:
        raise ApiError("video_has_no_content", f"the job is {job.state}; the video object says why", param=param)
    wait = UNKNOWN_WAIT_SECONDS if job.eta_seconds is None else job.eta_seconds
    detail = f"the job is {job.state}, {job.progress} % done"
    raise ApiError("video_not_ready", detail, param=param, retry_after=wait)
