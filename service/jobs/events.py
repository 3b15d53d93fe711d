"""A job's progress as a stream of events that can be replayed.

The stream in Redis is the truth; a pub/sub channel only rings when one has grown. So all followers of a process share
one subscribed connection, and a ring that is lost costs at most POLL_SECONDS.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis

from service.jobs import keys
from service.jobs.connection import RedisUnavailable, redis_errors
from service.jobs.contract import EventName, JobEvent, JobState
from service.jobs.views import job_of_record

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
READERS = 16
"""How many followers may read at once: they leave connections of the pool to all others."""
ENTRY_ID = re.compile(r"\d{1,20}-\d{1,20}")


class JobNotFound(LookupError):
    """There is no such job (any more)."""


async def follow(redis: Redis, job_id: str, last_event_id: str | None = None) -> AsyncIterator[JobEvent]:
    """The job's events as they happen, up to its terminal one.

    With the id of an event seen before, all later ones follow; without one (or with one that makes no sense) the first
    event is a snapshot of the job. A job that ended before `last_event_id` gives its last state again.

    Raises:
        JobNotFound: at the start, or when the job is deleted while it is followed.
        RedisUnavailable: Redis did not answer; follow again from the last event seen.
    """
    position = last_event_id if last_event_id and ENTRY_ID.fullmatch(last_event_id) else None
    async with listen(redis, job_id) as (rung, turn):
        if position is None:
            async with turn:
                snapshot = await read_snapshot(redis, job_id)
            yield snapshot
            if is_terminal(snapshot):
                return
            position = snapshot.id
        silent = True
        while True:
            rung.clear()
            async with turn:
                fresh = await read_after(redis, job_id, position)
            for event in fresh:
                yield event
                if is_terminal(event):
                    return
                position = event.id
            if silent and not fresh:
                async with turn:
                    snapshot = await read_snapshot(redis, job_id)
                    fresh = await read_after(redis, job_id, position)
                if is_terminal(snapshot) and not fresh:
                    yield snapshot
                    return
            silent = not fresh and not await rings(rung, POLL_SECONDS)


async def rings(rung: asyncio.Event, seconds: float) -> bool:
    """Whether the bell rings within so many seconds."""
    try:
        await asyncio.wait_for(rung.wait(), seconds)
    except TimeoutError:
        return False
    return True


def is_terminal(event: JobEvent) -> bool:
    return event.event is EventName.STATE and JobState(event.data["status"]).terminal


async def read_after(redis: Redis, job_id: str, position: str) -> list[JobEvent]:
    """The events behind a position, oldest first."""
    with redis_errors():
        entries = await redis.xrange(keys.events(job_id), min=f"({position}", count=500)
    return [event_of(entry_id, fields) for entry_id, fields in cast(list[tuple[str, dict[str, str]]], entries)]


async def read_snapshot(redis: Redis, job_id: str) -> JobEvent:
    """The job's present state as an event, with the id of the last one that it holds."""
    with redis_errors():
        async with redis.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(keys.job(job_id))
            pipeline.xrevrange(keys.events(job_id), count=1)
            pipeline.time()
            record, last, (seconds, microseconds) = await pipeline.execute()
    if not record:
        raise JobNotFound(job_id)
    job = job_of_record(record)
    now = seconds + microseconds / 1e6
    running = job.state is JobState.IN_PROGRESS and job.started_at is not None
    data: dict[str, Any] = {
        "id": job.id,
        "status": job.state,
        "stage": job.stage,
        "step": job.step,
        "steps": job.steps_total,
        "progress": job.progress,
        "attempt": job.attempt,
        "elapsed_seconds": round(now - (job.started_at or now), 3) if running else None,
        "eta_seconds": max(int(record["eta_ms"]) / 1000 - now, 0) if record.get("eta_ms") else None,
    }
    if job.error is not None:
        data["error"] = job.error.model_dump(mode="json")
    return JobEvent(id=last[0][0] if last else "0-0", event=EventName.STATE, data=data)


def event_of(entry_id: str, fields: dict[str, str]) -> JobEvent:
    return JobEvent(id=entry_id, event=EventName(fields["event"]), data=json.loads(fields["data"]))


class Bell:
    """Wakes the followers of a job when its stream has grown; one subscription for all of them."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.waiting: dict[str, set[asyncio.Event]] = {}
        self.subscribed = asyncio.Event()
        self.turn = asyncio.Semaphore(READERS)
        self.task = asyncio.create_task(self.ring())

    async def ring(self) -> None:
        while True:
            try:
                with redis_errors():
                    await self.ring_while_connected()
            except (RedisUnavailable, OSError) as error:
                log.warning("events are polled until Redis answers: %s", error)
                await asyncio.sleep(POLL_SECONDS)

    async def ring_while_connected(self) -> None:
        async with self.redis.pubsub() as channel:
            await channel.subscribe(keys.BELL)
            while True:
                message = await channel.get_message(timeout=1.0)
                if message is None:
                    continue
                self.subscribed.set()
                for rung in self.waiting.get(message["data"], ()):
                    rung.set()


_bells: dict[Redis, Bell] = {}


@asynccontextmanager
async def listen(redis: Redis, job_id: str) -> AsyncIterator[tuple[asyncio.Event, asyncio.Semaphore]]:
    """An event that is set whenever the job's stream grows, and the turn to take for reading it.

    All listeners on one client share one bell.
    """
    bell = _bells.get(redis) or _bells.setdefault(redis, Bell(redis))
    rung = asyncio.Event()
    bell.waiting.setdefault(job_id, set()).add(rung)
    try:
        await rings(bell.subscribed, POLL_SECONDS)
        yield rung, bell.turn
    finally:
        bell.waiting[job_id].discard(rung)
        if not bell.waiting[job_id]:
            del bell.waiting[job_id]
        if not bell.waiting:
            bell.task.cancel()
            _bells.pop(redis, None)
