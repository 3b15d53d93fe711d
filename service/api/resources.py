"""What the gateway holds while it runs: opened in one place, closed in the same place, handed to routes by type."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, TypeVar

import structlog
from fastapi import Depends, Request

from service.access.gate import principal_of, tell_limits
from service.access.keys import ApiKeys
from service.access.links import Links
from service.api.request_id import request_id_of
from service.jobs.admission import Trace
from service.jobs.connection import RedisUnavailable, deadline
from service.jobs.models import ModelCard
from service.jobs.reaper import run_reaper
from service.jobs.record import JobRecords
from service.jobs.retention import run_sweeper
from service.settings import Settings
from service.storage import Storage
from service.styles.records import StyleRecords
from service.telemetry.traces import current_traceparent
from service.uploads.records import FileRecords
from service.webhooks.run import run_webhooks
from service.webhooks.targets import Origin, parse_allow_list

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resources:
    catalogue: Mapping[str, ModelCard]
    records: JobRecords
    """As the client of the request may see them."""
    storage: Storage
    keys: ApiKeys
    links: Links
    reaper: asyncio.Task[None]
    max_upload_bytes: int
    webhook_allow: tuple[Origin, ...]
    """Where webhooks may go; empty when they are off."""
    presign: bool
    """Whether links lead to the store itself."""

    @property
    def files(self) -> FileRecords:
        """The uploads that the account of these records may see."""
        return FileRecords(self.records.redis, self.records.policy.retention_seconds, self.records.account.owner)

    @property
    def styles(self) -> StyleRecords:
        """The styles that the account of these records may see."""
        return StyleRecords(self.records.redis, self.records.account.owner)


@asynccontextmanager
async def open_resources(
    settings: Settings, catalogue: Mapping[str, ModelCard], storage: Storage
) -> AsyncIterator[Resources]:
    """Connects lazily: the gateway starts, and says that it is not ready, while Redis is still down."""
    records = JobRecords.connect(settings)
    stop = asyncio.Event()
    allowed = parse_allow_list(settings.webhook_allow)
    reaper = asyncio.create_task(run_reaper(records, stop), name="reaper")
    sweeper = asyncio.create_task(run_sweeper(records, storage, stop), name="sweeper")
    tasks = [reaper, sweeper]
    if allowed and settings.webhooks_in_gateway:
        tasks.append(asyncio.create_task(run_webhooks(records.redis, allowed, stop), name="webhooks"))
    for task in tasks:
        task.add_done_callback(report_death)
    try:
        yield Resources(
            catalogue=catalogue,
            records=records,
            storage=storage,
            keys=ApiKeys(records.redis),
            links=Links(records.redis),
            reaper=reaper,
            max_upload_bytes=settings.max_upload_bytes,
            webhook_allow=allowed,
            presign=settings.storage_presign,
        )
    finally:
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await records.close()


def report_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("background_task_died", task=task.get_name(), exc_info=error)


async def resources_of(request: Request) -> Resources:  # async: FastAPI sends plain functions to a thread
    """What the gateway holds, with the records as the client may see them."""
    held: Resources = request.app.state.resources
    scope = request.scope
    trace = Trace(request_id_of(scope), current_traceparent())
    account = principal_of(scope).account
    return replace(held, records=held.records.of(account, trace, partial(tell_limits, scope)))


Held = Annotated[Resources, Depends(resources_of)]


async def in_time(answer: Awaitable[T]) -> T:
    """What the job store answers.

    Raises:
        RedisUnavailable: after `connection.DEADLINE_SECONDS`.
    """
    try:
        async with deadline():
            return await answer
    except TimeoutError as error:
        raise RedisUnavailable("Redis did not answer in time") from error
