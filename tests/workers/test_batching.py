"""Jobs that are alike are made as one batch, and each of them is cancelled, fails and ends on its own."""

from pathlib import Path

import psutil
import pytest
import redis

from service.jobs.contract import ErrorCode, Job, JobState
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.workers.conftest import StartWorker
from tests.workers.scripted import TOGETHER, expected_bytes
from tests.workers.watching import events_of, scripted, terminal_rows, until, until_ended, until_step


async def accept(records: JobRecords, *scripts: dict[str, object], steps: int = 4) -> list[str]:
    """One job for each script, alike but for it and the seed."""
    return [
        (await records.accept(scripted(steps=steps, seed=seed, **script))).job.id for seed, script in enumerate(scripts)
    ]


def content(job: Job, settings: Settings) -> bytes:
    assert job.state is JobState.COMPLETED and job.result is not None, job
    return (settings.data_dir / job.result.path).read_bytes()


async def test_a_batch_makes_the_videos_that_each_job_asked_for(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    jobs = await accept(records, *[{"step_seconds": 0.1}] * 6)
    other = (await records.accept(scripted(steps=5, seed=9))).job.id
    worker = start_worker(batch_size=4)
    ended = [await until_ended(records, job_id) for job_id in jobs]
    for seed, job in enumerate(ended):
        assert content(job, settings) == TOGETHER + expected_bytes(seed, 4)
        assert terminal_rows(job.id, blocking) == (1, 1)
        assert [event["step"] for event in events_of(job.id, blocking) if event["stage"] == "denoise"][-1] == 4
    starts = {job.started_at for job in ended}
    assert len(starts) == 2, "four at once, then two"
    assert content(await until_ended(records, other), settings) == expected_bytes(9, 5), "it is like no other"
    assert worker.log.read_text().count("started of 4") == 4
    assert not list((settings.data_dir / "work").glob("*/*"))


async def test_a_job_leaves_its_batch_when_it_is_cancelled(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    jobs = await accept(records, *[{"step_seconds": 0.1}] * 3, steps=20)
    start_worker(batch_size=4)
    await until_step(records, jobs[1], 2)
    await records.cancel(jobs[1])
    cancelled = await until_ended(records, jobs[1])
    assert cancelled.state is JobState.CANCELLED and cancelled.step < 20
    for seed in (0, 2):
        job = await until_ended(records, jobs[seed])
        assert job.attempt == 1
        assert content(job, settings) == TOGETHER + expected_bytes(seed, 20)
    assert [path.name for path in (settings.data_dir / "videos").iterdir()].count(jobs[1]) == 0


async def test_a_batch_of_cancelled_jobs_stops(
    records: JobRecords, settings: Settings, start_worker: StartWorker
) -> None:
    jobs = await accept(records, *[{"step_seconds": 0.1}] * 2, steps=1000)
    start_worker(batch_size=2)
    await until_step(records, jobs[0], 2)
    for job_id in jobs:
        await records.cancel(job_id)
    for job_id in jobs:
        assert (await until_ended(records, job_id)).state is JobState.CANCELLED
    after = (await accept(records, {}))[0]
    assert content(await until_ended(records, after), settings) == expected_bytes(0, 4)


@pytest.mark.parametrize("fault", ["raise", "crash", "broken"])
async def test_one_that_fails_takes_no_other_down(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis, fault: str
) -> None:
    jobs = await accept(records, {}, {"at": 2, "do": fault}, {})
    start_worker(batch_size=4)
    bad = await until_ended(records, jobs[1])
    assert (bad.state, bad.attempt) == (JobState.FAILED, settings.max_attempts)
    assert bad.error is not None
    assert bad.error.code is (ErrorCode.INTERNAL_ERROR if fault == "raise" else ErrorCode.WORKER_CRASHED)
    for seed in (0, 2):
        job = await until_ended(records, jobs[seed])
        assert content(job, settings) == expected_bytes(seed, 4), "made alone"
        assert job.attempt == (1 if fault == "raise" else 2)
        assert terminal_rows(job.id, blocking) == (1, 1)


async def test_a_job_that_does_not_stop_costs_the_others_no_attempt(
    records: JobRecords, settings: Settings, start_worker: StartWorker, tmp_path: Path
) -> None:
    jobs = await accept(records, {}, {"at": 2, "do": "hang", "once": str(tmp_path / "once")}, {})
    worker = start_worker(batch_size=4, stall_seconds=60)
    await until_step(records, jobs[0], 1)
    await until((tmp_path / "once").exists)
    (horse,) = worker.horses()
    await records.cancel(jobs[1])
    assert (await until_ended(records, jobs[1])).state is JobState.CANCELLED
    for seed in (0, 2):
        assert content(await until_ended(records, jobs[seed]), settings).endswith(expected_bytes(seed, 4))
    assert not horse.is_running() or horse.status() == psutil.STATUS_ZOMBIE
    assert worker.log.read_text().count(": release") == 2
