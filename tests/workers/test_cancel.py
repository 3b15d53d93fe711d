"""A job ends when its client no longer wants it, or when it takes too long."""

import redis

from service.jobs.contract import ErrorCode, JobState
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.workers.conftest import StartWorker, WorkerProcess
from tests.workers.watching import (
    assert_completed_once,
    events_of,
    scripted,
    stored_files,
    terminal_rows,
    until_ended,
    until_step,
)


async def test_a_running_job_is_cancelled_within_a_step_and_the_horse_stays_warm(
    records: JobRecords, shared_settings: Settings, worker: WorkerProcess, blocking: redis.Redis
) -> None:
    accepted = await records.accept(scripted(steps=100, step_seconds=0.4))
    await until_step(records, accepted.job.id, 1)
    horses = worker.horses()
    flagged = await records.cancel(accepted.job.id)
    assert flagged is not None and flagged.state is JobState.IN_PROGRESS and flagged.cancel_requested
    job = await until_ended(records, accepted.job.id)
    assert job.state is JobState.CANCELLED
    assert job.error is not None and job.error.code is ErrorCode.CANCELLED
    assert terminal_rows(job.id, blocking) == (1, 1)
    assert (
        max(event["step"] for event in events_of(job.id, blocking)) <= flagged.step + 2
    )  # one may have ended just then
    assert stored_files(job.id, shared_settings) == []
    again = await records.accept(scripted())
    assert_completed_once(await until_ended(records, again.job.id), shared_settings, blocking)
    assert worker.horses() == horses


async def test_a_hung_step_is_killed_after_the_grace(
    records: JobRecords, shared_settings: Settings, worker: WorkerProcess, blocking: redis.Redis
) -> None:
    accepted = await records.accept(scripted(at=2, do="hang"))
    await until_step(records, accepted.job.id, 1)
    horses = worker.horses()
    await records.cancel(accepted.job.id)
    job = await until_ended(records, accepted.job.id)
    assert job.state is JobState.CANCELLED
    again = await records.accept(scripted())
    assert_completed_once(await until_ended(records, again.job.id), shared_settings, blocking)
    assert worker.horses() != horses


async def test_a_job_over_its_time_fails(records: JobRecords, start_worker: StartWorker) -> None:
    start_worker(job_timeout_seconds=1)
    accepted = await records.accept(scripted(steps=1000, step_seconds=0.05))
    job = await until_ended(records, accepted.job.id)
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert (job.error.code, job.error.message) == (ErrorCode.TIMED_OUT, "the job took longer than 1 s")


async def test_a_queued_job_is_cancelled_at_once(
    records: JobRecords, shared_settings: Settings, worker: WorkerProcess, blocking: redis.Redis
) -> None:
    running = await records.accept(scripted(steps=20, step_seconds=0.05))
    accepted = await records.accept(scripted())
    await until_step(records, running.job.id, 1)
    job = await records.cancel(accepted.job.id)
    assert job is not None and job.state is JobState.CANCELLED
    again = await records.accept(scripted())
    assert_completed_once(await until_ended(records, again.job.id), shared_settings, blocking)
    assert await records.get(job.id) == job
    assert stored_files(job.id, shared_settings) == []
