"""Jobs that are claimed together because they can be made as one batch, on a real Redis."""

from typing import Any

import pytest
import redis

from service.jobs import keys
from service.jobs.attempts import Attempts
from service.jobs.contract import ErrorCode, JobError, JobState, MediaRef, TextToVideoOptions
from service.jobs.policy import JobPolicy
from service.jobs.record import JobRecords
from tests.jobs.examples import example_result, example_spec

QUEUE = keys.QueueKeys("lumiere.lumiere-mini")
CRASH = JobError(code=ErrorCode.WORKER_CRASHED, message="crashed", retryable=True)
WEIGHTS = MediaRef(key="styles/x", media_type="application/octet-stream", sha256="0" * 64, bytes=1)


@pytest.fixture
def attempts(blocking: redis.Redis) -> Attempts:
    return Attempts(blocking, JobPolicy(backoff_seconds=(0.0,)))


async def accept(records: JobRecords, number: int = 1, **changes: Any) -> list[str]:
    return [(await records.accept(example_spec(seed=seed, **changes))).job.id for seed in range(number)]


def claim(attempts: Attempts, job_id: str, most: int = 4, attempt: int = 1) -> list[str]:
    return [job.id for job in attempts.claim_batch(job_id, attempt, "w", QUEUE.name, most)]


def in_style(name: str | None, strength: float = 1.0, weights: MediaRef | None = None) -> TextToVideoOptions:
    return TextToVideoOptions(style=name, style_strength=strength, style_weights=weights)


async def test_a_claim_brings_jobs_that_are_alike_in_the_order_of_the_queue(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    first, second, third, fourth, fifth, sixth = await accept(records, 6)
    batch = attempts.claim_batch(second, 1, "w", QUEUE.name, 4)
    assert [job.id for job in batch] == [second, first, third, fourth]
    assert {(job.state, job.attempt, job.worker) for job in batch} == {(JobState.IN_PROGRESS, 1, "w")}
    assert blocking.lrange(QUEUE.rq_list, 0, -1) == [f"{fifth}-a1", f"{sixth}-a1"]
    assert blocking.zrange(QUEUE.waiting, 0, -1) == [fifth, sixth]
    assert {keys.RQ_JOB_PREFIX + f"{job_id}-a1" for job_id in (fifth, sixth)} == set(blocking.keys("rq:job:*"))
    assert blocking.zcard(keys.LEASES) == 4
    assert claim(attempts, first) == [], "it is in the batch"
    assert attempts.claim_batch(second, 1, "w", QUEUE.name, 4) == batch, "the reply to the first claim was lost"
    assert attempts.complete(batch[2], example_result(batch[2]))
    assert claim(attempts, second) == [second, first, fourth]
    assert claim(attempts, fifth, most=1) == [fifth]


@pytest.mark.parametrize(
    ("changes", "joins"),
    [
        ({"prompt": "something else", "negative_prompt": "blurry", "fps": 24, "chroma": "4:4:4"}, True),
        ({"guidance_interval": (0.0, 1.0)}, True),
        ({"guidance_interval": (0.0, 0.8)}, False),
        ({"guidance_rescale": 0.5}, False),
        ({"scheduler": "UniPCMultistepScheduler"}, False),
        ({"options": in_style(None)}, True),
        ({"options": in_style(None, 0.5)}, True),
        ({"options": in_style("oil")}, False),
        ({"width": 128}, False),
        ({"num_frames": 8}, False),
        ({"num_inference_steps": 5}, False),
        ({"guidance_scale": 5.5}, False),
    ],
)
async def test_what_is_alike(records: JobRecords, attempts: Attempts, changes: dict[str, Any], joins: bool) -> None:
    (plain,) = await accept(records)
    (other,) = await accept(records, **changes)
    assert claim(attempts, plain) == ([plain, other] if joins else [plain])


@pytest.mark.parametrize(
    ("options", "together"),
    [
        ((in_style("oil"), in_style("oil")), True),
        ((in_style("oil"), in_style("oil", 0.5)), False),
        ((in_style("oil"), in_style("ink")), False),
        ((in_style("mine", 1.0, WEIGHTS), in_style("mine", 1.0, WEIGHTS)), False),
    ],
)
async def test_styles_are_shared_unless_they_were_learned(
    records: JobRecords, attempts: Attempts, options: tuple[Any, Any], together: bool
) -> None:
    (one,) = await accept(records, options=options[0])
    (other,) = await accept(records, options=options[1])
    assert claim(attempts, one) == ([one, other] if together else [one])


async def test_what_has_failed_before_runs_alone(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    failed, fine, also = await accept(records, 3)
    for job in attempts.claim_batch(failed, 1, "w", QUEUE.name, 1):
        assert attempts.retry(job, CRASH)
    assert claim(attempts, fine) == [fine, also]
    assert claim(attempts, failed, attempt=2) == [failed]


async def test_a_batch_shares_its_time_and_its_members_end_on_their_own(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    ids = await accept(records, 4)
    batch = attempts.claim_batch(ids[0], 1, "w", QUEUE.name, 4)
    for job_id in ids:
        blocking.hincrby(keys.job(job_id), "started_ms", -8000)
    assert attempts.complete(batch[0], example_result(batch[0]))
    assert attempts.fail(batch[1], CRASH)
    assert attempts.release(batch[2])
    ended = [await records.get(job_id) for job_id in ids]
    assert [job and job.state for job in ended] == ["completed", "failed", "queued", "in_progress"]
    assert all(job and job.device_seconds == pytest.approx(2, abs=0.2) for job in ended[:3])
    spec = batch[0].spec
    assert float(str(blocking.hget(keys.SPEED, spec.model))) == pytest.approx(2 / spec.cost, rel=0.1)
    assert claim(attempts, ids[2], attempt=2) == [ids[2]]
