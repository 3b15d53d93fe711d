"""`/v1/videos`: look at jobs, list, cancel and delete them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response

from service.api.accepting import ended
from service.api.errors import ApiError
from service.api.openai_route import JOBS, OpenAIRoute, asked_by_openai, refusals, video_for
from service.api.openapi import POLL_AFTER, REQUEST_ID
from service.api.paging import AFTER, page_of
from service.api.polling import poll_interval
from service.api.resources import Held, in_time
from service.api.schemas import Video, VideoDeleted, VideoList
from service.api.video_id import ExistingJob, VideoId, found
from service.jobs.contract import STYLE

router = APIRouter(tags=["videos"], route_class=OpenAIRoute)

LEAVE_SECONDS = 4.0
"""For which a deletion waits for the worker of a running job: clients repeat a 409 a few times only, and some wait for
5 seconds only.
"""
CANCEL_RETRY_SECONDS = 1
RETRY = {"x-should-retry": "true"}
"""For OpenAI's clients: this conflict is over as soon as the worker has left the job."""

OpenAI = Annotated[bool, Depends(asked_by_openai)]
ONE_VIDEO = {"description": "The video as it is now.", "headers": {**REQUEST_ID, **POLL_AFTER}}


@router.get(
    "/v1/videos",
    summary="List videos",
    responses={200: {"headers": REQUEST_ID}, **refusals("invalid_field", "redis_unavailable")},
)
async def list_videos(
    held: Held,
    openai: OpenAI,
    after: Annotated[str | None, AFTER] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="By time of creation.")] = "desc",
) -> VideoList:
    """A page of videos, and whether there are more behind it."""
    jobs = await in_time(held.records.list(after=after, limit=limit + 1, newest_first=order == "desc"))
    return page_of(VideoList, [video_for(job, openai=openai) for job in jobs], limit)


@router.get(
    "/v1/videos/{video_id}",
    summary="Look at a video",
    responses={200: ONE_VIDEO, **refusals("video_not_found", "redis_unavailable")},
)
async def get_video(job: ExistingJob, openai: OpenAI, response: Response) -> Video:
    """A failed job is a 200 with `status: failed`; only an unknown id is a 404."""
    response.headers.update(poll_interval(job))
    return video_for(job, openai=openai)


@router.post(
    "/v1/videos/{video_id}/cancel",
    summary="Cancel a job",
    responses={200: ONE_VIDEO, **refusals("video_not_found", "redis_unavailable")},
)
async def cancel_video(video_id: VideoId, held: Held, openai: OpenAI, response: Response) -> Video:
    """A queued job is cancelled at once, a running one within one denoising step; a finished one stays as it is."""
    job = found(await in_time(held.records.cancel(video_id)))
    response.headers.update(poll_interval(job))
    return video_for(job, openai=openai)


@router.delete(
    "/v1/videos/{video_id}",
    summary="Delete a video",
    responses={
        200: {"headers": REQUEST_ID},
        **refusals("video_not_found", "video_still_running", "redis_unavailable", "storage_unavailable"),
    },
)
async def delete_video(video_id: VideoId, held: Held) -> VideoDeleted:
    """Removes record and file. An active job is cancelled; if its worker takes long to leave it: 409."""
    job = found(await in_time(held.records.cancel(video_id)))
    if not job.state.terminal:
        await ended(held, job, LEAVE_SECONDS)
    job = found(await in_time(held.records.delete(video_id)))
    if not job.state.terminal:
        raise ApiError(
            "video_still_running", "the job is being cancelled", retry_after=CANCEL_RETRY_SECONDS, headers=RETRY
        )
    if job.result is not None and job.spec.task != STYLE:  # a style outlives its job
        for key in job.result.keys:
            await held.storage.delete(key)
    return VideoDeleted(id=video_id)


# The same under the name of what they are before there is a video; not documented twice.
jobs = APIRouter(prefix=JOBS, include_in_schema=False)
for path, handler, method in (
    ("", list_videos, "GET"),
    ("/{video_id}", get_video, "GET"),
    ("/{video_id}/cancel", cancel_video, "POST"),
    ("/{video_id}", delete_video, "DELETE"),
):
    jobs.add_api_route(path, handler, methods=[method])
router.include_router(jobs)
