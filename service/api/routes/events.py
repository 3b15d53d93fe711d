"""`GET /v1/videos/{id}/events`: the progress of a job as server-sent events that can be replayed."""

from collections.abc import AsyncIterable
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.api.errors import ApiError
from service.api.openapi import problems
from service.api.resources import Held
from service.api.video_id import ExistingJob
from service.jobs.connection import RedisUnavailable
from service.jobs.events import ENTRY_ID, JobNotFound, follow

router = APIRouter(tags=["videos"])

RECONNECT_MS = 1000


async def last_event_id(
    last_event_id: Annotated[
        str | None,
        Header(
            description="Id of the last event seen; all later ones are sent again.",
            json_schema_extra={"pattern": r"^([0-9]{1,20}-[0-9]{1,20})?$"},
        ),
    ] = None,
) -> str | None:
    if last_event_id and ENTRY_ID.fullmatch(last_event_id) is None:
        raise ApiError("invalid_header", "Last-Event-ID is not an id of these events", param="Last-Event-ID")
    return last_event_id or None


@router.get(
    "/v1/videos/{video_id}/events",
    response_class=EventSourceResponse,
    summary="Follow a job",
    responses=problems("invalid_header", "video_not_found", "redis_unavailable"),
)
async def video_events(
    job: ExistingJob, held: Held, seen: Annotated[str | None, Depends(last_event_id)]
) -> AsyncIterable[ServerSentEvent]:
    """Events `state` and `progress`; the first is a snapshot, unless `Last-Event-ID` is given. Ends after the terminal
    state. A stream that ends before it can be taken up again with `Last-Event-ID`; idle ones carry `: ping` comments.
    """
    yield ServerSentEvent(retry=RECONNECT_MS)
    try:
        async for event in follow(held.records.redis, job.id, seen):
            yield ServerSentEvent(id=event.id, event=event.event, data=event.data)
    except (RedisUnavailable, JobNotFound):
        return  # the client comes back with Last-Event-ID, and is then told by status
