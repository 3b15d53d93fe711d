"""Redis and the model folder come and go under a running worker."""

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from service.jobs import keys
from service.jobs.connection import RedisUnavailable, connect, connect_blocking
from service.jobs.contract import Job, JobState
from service.jobs.policy import JobPolicy
from service.jobs.reaper import run_reaper
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.redis_server import RedisServer
from tests.workers.conftest import StartWorker, WorkerProcess
from tests.workers.watching import WAIT_SECONDS, assert_completed_once, scripted, until, until_ended, until_step


class TestRedis:
    """A Redis of its own, that may be killed."""

    @pytest.fixture
    def server(self) -> Iterator[RedisServer]:
        with tempfile.TemporaryDirectory(prefix="lumiere-redis-") as folder:
            server = RedisServer(Path(folder))
            server.start()
            yield server
            server.stop(signal.SIGKILL)

    @pytest.fixture
    def redis_url(self, server: RedisServer) -> str:
        return server.url

    async def test_a_result_is_kept_through_an_outage(
        self, records: JobRecords, settings: Settings, start_worker: StartWorker, server: RedisServer
    ) -> None:
        """The outage begins within the job and ends after it: its end is settled when Redis is back."""
        start_worker()
        queued = [(await records.accept(scripted(seed=seed))).job.id for seed in (1, 2)]
        running = (await records.accept(scripted(steps=30, step_seconds=0.05))).job.id
        await until_step(records, running, 5)
        server.stop(signal.SIGKILL)
        await asyncio.sleep(2.5)
        server.start()
        with connect_blocking(server.url) as blocking:
            for job_id in (running, *queued):
                job = await self.patiently(records, job_id)
                assert_completed_once(job, settings, blocking)
            assert job.state is JobState.COMPLETED

    async def patiently(self, records: JobRecords, job_id: str) -> Job:
        while True:
            try:
                return await until_ended(records, job_id)
            except RedisUnavailable:
                await asyncio.sleep(0.05)


async def states(records: JobRecords) -> list[tuple[str, str]]:
    return [(worker.state, worker.detail) for worker in await records.live_workers()]


async def until_worker(records: JobRecords, state: str) -> str:
    """The detail of the one worker once it is in this state."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        for seen, detail in await states(records):
            if seen == state:
                return detail
        assert time.monotonic() < deadline, await states(records)
        await asyncio.sleep(0.02)


async def test_a_model_that_cannot_be_loaded_is_named_and_healed_without_a_restart(
    records: JobRecords, settings: Settings, start_worker: StartWorker
) -> None:
    damage = settings.model_dirs[0] / "corrupt"
    damage.touch()
    worker = start_worker(load_retry_seconds=1.5)
    detail = await until_worker(records, "failed")
    assert detail == f"ValueError: {damage} is damaged"
    accepted = await records.accept(scripted())
    await asyncio.sleep(1)
    assert worker.log.read_text().count("next try in 1.5 s") == 1, "no crash loop"
    waiting = await records.get(accepted.job.id)
    assert waiting is not None and waiting.state is JobState.QUEUED, "a worker without models takes no job"
    damage.unlink()
    assert (await until_ended(records, accepted.job.id)).state is JobState.COMPLETED


async def test_an_idle_horse_that_dies_is_replaced(records: JobRecords, worker: WorkerProcess) -> None:
    await until_worker(records, "ready")
    (horse,) = worker.horses()
    horse.kill()
    await until(lambda: [replaced.pid for replaced in worker.horses() if replaced.pid != horse.pid])
    accepted = await records.accept(scripted())
    job = await until_ended(records, accepted.job.id)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 1)


@pytest_asyncio.fixture
async def lonely_records(settings: Settings, patience: None) -> AsyncIterator[JobRecords]:
    """Records without a reaper."""
    assert settings.redis_url is not None
    records = JobRecords(connect(settings.redis_url), JobPolicy.of(settings))
    yield records
    await records.close()


async def test_a_reaper_that_starts_late_does_not_take_jobs_from_living_workers(
    lonely_records: JobRecords, settings: Settings, start_worker: StartWorker
) -> None:
    """All gateways were away for longer than a lease, and a worker was cut off just as long."""
    start_worker()
    accepted = await lonely_records.accept(scripted(steps=40, step_seconds=0.04))
    running = await until_step(lonely_records, accepted.job.id, 2)
    assert settings.redis_url is not None
    with connect_blocking(settings.redis_url) as client:
        client.zadd(keys.LEASES, {running.id: 1})  # expired long ago; the next beat renews it
    stop = asyncio.Event()
    reaper = asyncio.create_task(run_reaper(lonely_records, stop))
    job = await until_ended(lonely_records, accepted.job.id)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 1)
    stop.set()
    await reaper
