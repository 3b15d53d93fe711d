"""Deletes what nothing points to any more: videos of expired and deleted jobs and of attempts that lost, and uploads
whose record has expired.
"""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from service.jobs import keys
from service.jobs.connection import RedisUnavailable, redis_errors
from service.jobs.record import JobRecords
from service.storage import Storage, StorageError, StoredObject
from service.styles.records import StyleRecords

log = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
YOUNG = timedelta(hours=1)
"""Younger objects are left alone: their attempt may be about to end, their upload about to be recorded."""


async def run_sweeper(records: JobRecords, storage: Storage, stop: asyncio.Event) -> None:
    """Sweeps every SWEEP_SECONDS until `stop` is set; any number of sweepers may run at once."""
    while not stop.is_set():
        try:
            swept = await sweep(records, storage)
            if swept:
                log.info("deleted %d objects that nothing points to", swept)
        except (RedisUnavailable, StorageError) as error:
            log.warning("the storage is swept later: %s", error)
        try:
            await asyncio.wait_for(stop.wait(), SWEEP_SECONDS)
        except TimeoutError:
            continue


async def sweep(records: JobRecords, storage: Storage, now: datetime | None = None) -> int:
    """One pass over all objects and the index of jobs; how many objects were deleted. `now` is for tests."""
    await records.forget_expired()
    now = now or datetime.now(UTC)
    swept = 0
    async for video in storage.objects("videos"):
        if await is_orphan(video, records, now):
            await storage.delete(video.key)
            swept += 1
    async for upload in storage.objects("uploads"):
        if await is_forgotten(upload, records, now):
            await storage.delete(upload.key)
            swept += 1
    async for weights in storage.objects("styles"):
        if await is_no_style(weights, records, now):
            await storage.delete(weights.key)
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
    return job.state.terminal and (job.result is None or video.key not in job.result.keys)


async def is_no_style(weights: StoredObject, records: JobRecords, now: datetime) -> bool:
    """Whether the weights belong to no style; they are kept for a retention, as the record may have been lost."""
    if now - weights.modified < timedelta(seconds=records.policy.retention_seconds):
        return False
    return not await StyleRecords(records.redis).stand_on(weights.key)


async def is_forgotten(upload: StoredObject, records: JobRecords, now: datetime) -> bool:
    """Whether an upload has no record any more; it is kept for a retention, as the record may have been lost."""
    if now - upload.modified < timedelta(seconds=records.policy.retention_seconds):
        return False
    with redis_errors():
        return not await records.redis.exists(keys.file(upload.key.split("/")[1]))
