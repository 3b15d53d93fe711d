"""SIGTERM drains, a second signal ends at once; no job is lost by it and no process stays behind."""

import signal
import time

import psutil
import pytest
import redis

from service.jobs.contract import JobState, WorkerInfo, WorkerState
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.workers.conftest import StartWorker, WorkerProcess
from tests.workers.watching import (
    WAIT_SECONDS,
    assert_completed_once,
    scripted,
    until,
    until_ended,
    until_state,
    until_step,
)


async def own_entries(records: JobRecords, worker: WorkerProcess) -> list[WorkerInfo]:
    """What the registry says of this worker; other tests' workers may be registered in the same Redis."""
    return [info for info in await records.live_workers() if f"-{worker.pid}-" in info.name]


async def until_ready(records: JobRecords, worker: WorkerProcess) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while WorkerState.READY not in [info.state for info in await own_entries(records, worker)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_gone(worker: WorkerProcess, horses: list[psutil.Process]) -> None:
    assert worker.process.poll() == 0
    assert not any(horse.is_running() and horse.status() != psutil.STATUS_ZOMBIE for horse in horses)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_worker_stops_soon(
    records: JobRecords, settings: Settings, start_worker: StartWorker, number: signal.Signals
) -> None:
    worker = start_worker(drain_seconds=60)
    await until_ready(records, worker)
    horses = worker.horses()
    assert len(horses) == 1
    worker.signal(number)
    asked = time.monotonic()
    worker.wait()
    assert time.monotonic() - asked < 30  # it waits neither for a job nor for what would be left of one
    assert_gone(worker, horses)
    assert await own_entries(records, worker) == []
    assert list((settings.data_dir / "work").iterdir()) == []


async def test_a_draining_worker_finishes_its_job_and_takes_no_other(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    worker = start_worker(drain_seconds=20)
    running = await records.accept(scripted(steps=30, step_seconds=0.05))
    waiting = await records.accept(scripted())
    await until_step(records, running.job.id, 2)
    horses = worker.horses()
    worker.signal(signal.SIGTERM)
    worker.wait()
    assert_gone(worker, horses)
    job = await records.get(running.job.id)
    assert job is not None and job.attempt == 1
    assert_completed_once(job, settings, blocking)
    left = await records.get(waiting.job.id)
    assert left is not None and left.state is JobState.QUEUED


async def test_a_job_longer_than_the_drain_is_handed_back_without_using_up_an_attempt(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    worker = start_worker(drain_seconds=0.1, max_attempts=1)
    accepted = await records.accept(scripted(steps=30, step_seconds=0.04))
    await until_step(records, accepted.job.id, 2)
    horses = worker.horses()
    worker.signal(signal.SIGTERM)
    worker.wait()
    assert_gone(worker, horses)
    back = await records.get(accepted.job.id)
    assert back is not None and (back.state, back.queue_position) == (JobState.QUEUED, 0)
    start_worker(max_attempts=1)
    assert_completed_once(await until_ended(records, accepted.job.id), settings, blocking)


async def test_a_second_signal_stops_at_once(records: JobRecords, start_worker: StartWorker) -> None:
    worker = start_worker(drain_seconds=60, cancel_grace_seconds=60)
    accepted = await records.accept(scripted(steps=3, at=2, do="hang"))
    await until_step(records, accepted.job.id, 1)
    horses = worker.horses()
    worker.signal(signal.SIGTERM)
    time.sleep(0.7)
    assert worker.process.poll() is None
    asked = time.monotonic()
    worker.signal(signal.SIGTERM)
    worker.wait()
    assert time.monotonic() - asked < 10, "less than the drain and the grace"
    assert_gone(worker, horses)
    await until_state(records, accepted.job.id, JobState.QUEUED)


async def test_a_worker_stops_while_redis_is_away(
    records: JobRecords, settings: Settings, start_worker: StartWorker
) -> None:
    worker = start_worker(redis_url="unix:///nowhere/redis.sock")
    await until(lambda: "waiting for Redis" in worker.log.read_text())
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
