"""What the tests of workers ask of a job: make one, wait for it, check its end."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import redis

from service.jobs import keys
from service.jobs.contract import Job, JobSpec, JobState
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.jobs.examples import example_spec
from tests.workers.scripted import expected_bytes

WAIT_SECONDS = 120.0
"""Only a broken job system takes as long, even on a machine with better things to do."""


def scripted(steps: int = 4, seed: int = 7, **script: Any) -> JobSpec:
    """A job for the scripted runtime; see there for what the script can say."""
    prompt = json.dumps(script, default=str)
    return example_spec(prompt=prompt, num_inference_steps=steps, seed=seed)


async def until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> None:
    """Returns once the condition holds; checked every 20 ms, fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


async def until_job(
    records: JobRecords, job_id: str, condition: Callable[[Job], bool], seconds: float = WAIT_SECONDS
) -> Job:
    """The job once the condition holds for it."""
    deadline = time.monotonic() + seconds
    while True:
        job = await records.get(job_id)
        assert job is not None
        if condition(job):
            return job
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)


async def until_ended(records: JobRecords, job_id: str, seconds: float = WAIT_SECONDS) -> Job:
    return await until_job(records, job_id, lambda job: job.state.terminal, seconds)


async def until_step(records: JobRecords, job_id: str, step: int) -> Job:
    return await until_job(records, job_id, lambda job: job.state is JobState.IN_PROGRESS and job.step >= step)


async def until_state(records: JobRecords, job_id: str, state: JobState) -> Job:
    return await until_job(records, job_id, lambda job: job.state is state)


def assert_completed_once(job: Job, settings: Settings, blocking: redis.Redis) -> None:
    """One whole video under the pointer and no other file, one terminal event, one outbox row."""
    assert job.state is JobState.COMPLETED, job
    assert job.result is not None
    video = settings.data_dir / job.result.path
    assert stored_files(job.id, settings) == [video]
    assert video.read_bytes() == expected_bytes(job.spec.seed, job.spec.num_inference_steps)
    assert terminal_rows(job.id, blocking) == (1, 1)


def stored_files(job_id: str, settings: Settings) -> list[Any]:
    return [path for path in (settings.data_dir / "videos" / job_id).rglob("*") if path.is_file()]


def terminal_rows(job_id: str, blocking: redis.Redis) -> tuple[int, int]:
    """How many outbox rows and how many terminal events a job has."""
    outbox: Any = blocking.xrange(keys.OUTBOX)
    statuses = [event["status"] for event in events_of(job_id, blocking)]
    return sum(row["job"] == job_id for _, row in outbox), sum(JobState(status).terminal for status in statuses)


def events_of(job_id: str, blocking: redis.Redis) -> list[dict[str, Any]]:
    rows: Any = blocking.xrange(keys.events(job_id))
    return [json.loads(row["data"]) for _, row in rows]
