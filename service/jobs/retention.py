"""Deletes videos that no job points to any more: of expired and deleted jobs, and of attempts that lost."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from service.jobs.connection import RedisUnavailable
from service.jobs.record import JobRecords
from service.storage import Storage, StorageError, StoredObject

log = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
YOUNG = timedelta(hours=1)
"""Younger videos are left alone: their attempt may be about to end."""


async def run_sweeper(records: JobRecords, storage: Storage, stop: asyncio.Event) -> None:
    """Sweeps every SWEEP_SECONDS until `stop` is set; any number of sweepers may run at once."""
    while not stop.is_set():
        try:
            swept = await sweep(records, storage)
            if swept:
                log.info("deleted %d videos that no job points to", swept)
        except (RedisUnavailable, StorageError) as error:
            log.warning("videos are swept later: %s", error)
        try:
            await asyncio.wait_for(stop.wait(), SWEEP_SECONDS)
        except TimeoutError:
            continue


async def sweep(records: JobRecords, storage: Storage, now: datetime | None = None) -> int:
    """One pass over all videos and the index of jobs; how many videos were deleted. `now` is for tests."""
    await records.forget_expired()
    swept = 0
    async for video in storage.objects("videos"):
        if await is_orphan(video, records, now or datetime.now(UTC)):
            await storage.delete(video.key)
            swept += 1
    return swept


async def is_orphan(video: StoredObject, records: JobRecords, now: datetime) -> bool:
    """Whether no job points to the video and none will.

    A video without a record is kept as long as its job would have been: the record may have been lost with Redis.
    """
    age = now - video.modified
    if age < YOUNG:
        return False
    job = await records.get(video.key.split("/")[1])
    if job is None:
        return age > timedelta(seconds=records.policy.retention_seconds)
    return job.state.terminal and (job.result is None or job.result.path != video.key)
