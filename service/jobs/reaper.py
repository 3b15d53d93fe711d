"""Gives the jobs of dead workers to live ones. Runs in every gateway; any number may run at once, none leads."""

import asyncio
import logging

from service.jobs.connection import RedisUnavailable
from service.jobs.record import JobRecords

log = logging.getLogger(__name__)

REDISPATCH_EVERY = 3
"""Passes between two looks for jobs that RQ has lost."""


async def run_reaper(records: JobRecords, stop: asyncio.Event) -> None:
    """Reaps every `policy.reap_interval_seconds` until `stop` is set. Outlives any outage of Redis."""
    passes = 0
    while not stop.is_set():
        try:
            await records.reap()
            await records.watch_memory()
            if passes % REDISPATCH_EVERY == 0:
                await records.redispatch()
            passes += 1
        except RedisUnavailable as error:
            log.warning("reaper waits: %s", error)
        except Exception:  # whatever is wrong with one pass, the jobs of dead workers need the next one
            log.exception("a pass of the reaper failed")
        try:
            await asyncio.wait_for(stop.wait(), records.policy.reap_interval_seconds)
        except TimeoutError:
            continue
