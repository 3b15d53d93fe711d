"""Whatever dies, every accepted job ends in exactly one terminal state, with one result and one event."""

import asyncio
import json
import time
from typing import Any

import redis

from service.jobs import keys
from service.jobs.contract import Job, JobSpec, JobState
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.jobs.examples import example_spec
from tests.workers.conftest import StartWorker
from tests.workers.scripted import expected_bytes


def scripted(steps: int = 4, seed: int = 7, **script: Any) -> JobSpec:
    return example_spec(prompt=json.dumps({"seed": seed, **script}), num_inference_steps=steps, seed=seed)


async def until(records: JobRecords, job_id: str, *states: JobState, seconds: float = 20) -> Job:
    deadline = time.monotonic() + seconds
    while True:
        job = await records.get(job_id)
        assert job is not None
        if job.state in states or (not states and job.state.terminal):
            return job
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)


async def until_step(records: JobRecords, job_id: str, step: int, seconds: float = 20) -> Job:
    deadline = time.monotonic() + seconds
    while True:
        job = await records.get(job_id)
        assert job is not None and not job.state.terminal, job
        if job.state is JobState.IN_PROGRESS and job.step >= step:
            return job
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)


def assert_completed_once(job: Job, settings: Settings, blocking: redis.Redis) -> None:
    """One video with the right bytes under the pointer, no other file, one terminal event, one outbox row."""
    assert job.state is JobState.COMPLETED, job
    assert job.result is not None
    videos = [path for path in (settings.data_dir / "videos").rglob("*") if path.is_file()]
    assert [path for path in videos if job.id in str(path)] == [settings.data_dir / job.result.path]
    assert (settings.data_dir / job.result.path).read_bytes() == expected_bytes(
        job.spec.seed, job.spec.num_inference_steps
    )
    assert terminal_rows(job.id, blocking) == (1, 1)


def terminal_rows(job_id: str, blocking: redis.Redis) -> tuple[int, int]:
    outbox = [row for _, row in blocking.xrange(keys.OUTBOX) if row["job"] == job_id]
    events = [json.loads(row["data"])["status"] for _, row in blocking.xrange(keys.events(job_id))]
    return len(outbox), sum(JobState(status).terminal for status in events)


async def test_a_job_is_made(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    start_worker()
    accepted = await records.accept(scripted(steps=5))
    job = await until(records, accepted.job.id)
    assert_completed_once(job, settings, blocking)
    assert (job.progress, job.attempt, job.steps_total) == (100, 1, 5)
    statuses = [json.loads(row["data"]) for _, row in blocking.xrange(keys.events(job.id))]
    assert statuses[0]["status"] == "queued" and statuses[1]["status"] == "in_progress"
    progress = [row["progress"] for row in statuses]
    assert progress[-1] == 100
    assert progress == sorted(progress)
    (worker,) = await records.live_workers()
    assert worker.state in ("ready", "busy") and worker.models == ("lumiere-mini",)
