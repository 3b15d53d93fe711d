"""Accepting, reading, cancelling and listing jobs, and what a worker may do with them, on a real Redis."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from rq.job import Job as RqJob

from service.jobs import keys
from service.jobs.attempts import Attempts, Progress, Verdict
from service.jobs.connection import connect_blocking, script
from service.jobs.contract import ErrorCode, Job, JobError, JobState, WorkerInfo, WorkerState, is_job_id, new_job_id
from service.jobs.policy import JobPolicy
from service.jobs.queue import GENERATE_VIDEO, AttemptJob, attempt_of
from service.jobs.record import IdempotencyConflict, JobRecords, QueueFull
from tests.jobs.examples import example_result, example_spec

CRASH = JobError(code=ErrorCode.WORKER_CRASHED, message="crashed", retryable=True)
QUEUE = keys.QueueKeys("lumiere.lumiere-mini")
NO_ACCOUNT = ("", "", 1, "normal", "", "", "", "", "", "", "")


@pytest.fixture
def attempts(blocking: redis.Redis) -> Attempts:
    return Attempts(blocking, JobPolicy(backoff_seconds=(60.0, 120.0)))


def run(job_id: str, attempts: Attempts, attempt: int = 1) -> Job:
    job = attempts.claim(job_id, attempt, "worker-1")
    assert job is not None
    return job


async def test_an_accepted_job_is_recorded_queued_and_announced(records: JobRecords, blocking: redis.Redis) -> None:
    job = (await records.accept(example_spec())).job
    assert is_job_id(job.id)
    assert (job.state, job.queue_position, job.attempt, job.progress) == (JobState.QUEUED, 0, 0, 0)
    assert job.spec == example_spec()
    assert abs(job.created_at - time.time()) < 5
    assert blocking.lrange(QUEUE.rq_list, 0, -1) == [keys.attempt_name(job.id, 1)]
    assert blocking.xlen(keys.events(job.id)) == 1
    assert await records.get(job.id) == job


async def test_rq_reads_what_the_script_wrote(records: JobRecords, redis_url: str) -> None:
    job = (await records.accept(example_spec())).job
    name = keys.attempt_name(job.id, 1)
    with redis.Redis.from_url(redis_url) as client:
        carried = RqJob.fetch(name, connection=client, serializer="json")
        assert (carried.func_name, list(carried.args), carried.kwargs) == (GENERATE_VIDEO, [name], {})
        assert (carried.timeout, carried.origin) == (-1, QUEUE.name)
        assert attempt_of(AttemptJob.fetch(name, connection=client, serializer="json")) == (job.id, 1)


async def test_unknown_and_malformed_ids_name_no_job(records: JobRecords) -> None:
    for job_id in ("video_" + "a" * 26, "video_../../etc", "", "lumiere:jobs", "video_" + "a" * 25, "x" * 10_000):
        assert await records.get(job_id) is None
        assert await records.cancel(job_id) is None


async def test_a_repeated_request_gets_the_same_job(records: JobRecords) -> None:
    first = await records.accept(example_spec(), idempotency_key="tenant:key")
    again = await records.accept(example_spec(), idempotency_key="tenant:key")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.job.id == first.job.id
    with pytest.raises(IdempotencyConflict) as conflict:
        await records.accept(example_spec(seed=8), idempotency_key="tenant:key")
    assert conflict.value.job_id == first.job.id
    other = await records.accept(example_spec(), idempotency_key="other-tenant:key")
    assert other.job.id != first.job.id
    # The fingerprint stands for the request when the spec holds parts that were drawn.
    drawn = await records.accept(example_spec(seed=1), idempotency_key="drawn", fingerprint="same body")
    repeat = await records.accept(example_spec(seed=2), idempotency_key="drawn", fingerprint="same body")
    assert repeat.replayed and repeat.job.id == drawn.job.id and repeat.job.spec.seed == 1


def accept_blocking(client: redis.Redis, job_id: str, *, bound: int = 1000, key: str = "") -> list[str]:
    """The script as `JobRecords.accept` calls it, from a thread."""
    spec = example_spec()
    arguments: list[Any] = [job_id, spec.model_dump_json(), QUEUE.name, spec.model, spec.shape, spec.cost, 4, 60, bound]
    verdict, subject, *_ = client.register_script(script("accept"))(
        args=[*arguments, key, "print", 10_000, *NO_ACCOUNT]
    )
    if verdict == "replayed":
        return [verdict, dict(zip(subject[0][::2], subject[0][1::2], strict=True))["id"]]
    return [verdict, job_id if verdict == "accepted" else ""]


def hammer(redis_url: str, calls: int, threads: int, **options: Any) -> list[list[str]]:
    local = threading.local()

    def call(_: int) -> list[str]:
        if not hasattr(local, "client"):
            local.client = connect_blocking(redis_url)
        return accept_blocking(local.client, new_job_id(), **options)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, range(calls)))


def test_fifty_threads_with_one_key_make_one_job(redis_url: str, blocking: redis.Redis) -> None:
    replies = hammer(redis_url, 200, 50, key=keys.idempotency("digest"))
    assert sorted(verdict for verdict, _ in replies) == ["accepted"] + ["replayed"] * 199
    assert len({job_id for _, job_id in replies}) == 1
    assert blocking.llen(QUEUE.rq_list) == 1


def test_the_queue_bound_is_exact(redis_url: str, blocking: redis.Redis) -> None:
    replies = hammer(redis_url, 400, 30, bound=150)
    assert sum(verdict == "accepted" for verdict, _ in replies) == 150
    assert blocking.llen(QUEUE.rq_list) == blocking.zcard(QUEUE.waiting) == 150


async def test_a_full_queue_refuses_and_takes_jobs_again(records: JobRecords, attempts: Attempts) -> None:
    records.policy = JobPolicy(max_queued_jobs=2)
    first = (await records.accept(example_spec())).job
    await records.accept(example_spec())
    with pytest.raises(QueueFull) as full:
        await records.accept(example_spec())
    assert full.value.queued == 2
    run(first.id, attempts)
    assert (await records.accept(example_spec())).job.queue_position == 1


async def test_position_and_eta(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    spec = example_spec(num_inference_steps=10)
    jobs = [(await records.accept(spec)).job for _ in range(4)]
    assert [job.queue_position for job in jobs] == [0, 1, 2, 3]
    assert jobs[0].eta_seconds is None  # nothing is known about the speed
    attempts.announce(WorkerInfo(name="w", state=WorkerState.READY, models=("lumiere-mini",), seen_seconds_ago=0))
    blocking.hset(keys.SPEED, mapping={spec.model: 2 / spec.cost, f"{spec.model} {spec.shape}": 0.2})
    etas = [(await records.get(job.id)) for job in jobs]
    assert [job and job.eta_seconds for job in etas] == [2.0, 4.0, 6.0, 8.0]
    await records.cancel(jobs[1].id)
    moved = [await records.get(job.id) for job in jobs]
    assert [job and job.queue_position for job in moved] == [0, None, 1, 2]
    attempts.announce(WorkerInfo(name="v", state=WorkerState.BUSY, models=("lumiere-mini",), seen_seconds_ago=0))
    last = await records.get(jobs[3].id)
    assert last is not None and last.eta_seconds == 4.0
    running = run(jobs[0].id, attempts)
    attempts.beat(running, Progress("denoise", 5, 10, 47, 1.0, True))
    last = await records.get(jobs[3].id)
    assert last is not None and last.eta_seconds == pytest.approx(2 + (2 + 1) / 2, abs=0.2)
    attempts.complete(running, example_result(running))
    for job in jobs:
        await records.cancel(job.id)
    assert not blocking.exists(QUEUE.cost, QUEUE.waiting, QUEUE.rq_list)


async def test_speed_is_learned_from_completed_jobs(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    spec = example_spec()
    for expected in (1.0, 1.0):
        job = (await records.accept(spec)).job
        running = run(job.id, attempts)
        blocking.hincrby(keys.job(job.id), "started_ms", -4000)
        assert attempts.complete(running, example_result(running))
        per_step = float(str(blocking.hget(keys.SPEED, f"{spec.model} {spec.shape}")))
        assert per_step == pytest.approx(expected, rel=0.1)
        assert float(str(blocking.hget(keys.SPEED, spec.model))) == pytest.approx(4 / spec.cost, rel=0.1)


async def test_the_life_of_a_job(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    accepted = (await records.accept(example_spec())).job
    running = run(accepted.id, attempts)
    assert (running.state, running.attempt, running.worker) == (JobState.IN_PROGRESS, 1, "worker-1")
    assert blocking.llen(QUEUE.rq_list) == 0
    assert attempts.beat(running) is Verdict.GO
    assert attempts.beat(running, Progress("denoise", 2, 4, 47, 1.5, True)) is Verdict.GO
    seen = await records.get(accepted.id)
    assert seen is not None
    assert (seen.stage, seen.step, seen.steps_total, seen.progress) == ("denoise", 2, 4, 47)
    assert seen.eta_seconds == pytest.approx(1.5, abs=0.5)
    result = example_result(running)
    assert attempts.complete(running, result)
    done = await records.get(accepted.id)
    assert done is not None
    assert (done.state, done.progress, done.result, done.error) == (JobState.COMPLETED, 100, result, None)
    assert done.completed_at is not None and done.expires_at == pytest.approx(done.completed_at + 86_400)
    assert 86_000 < int(str(blocking.ttl(keys.job(done.id)))) <= 86_400
    assert attempts.complete(running, result), "a repeat after a lost reply is no loss"
    assert blocking.xlen(keys.OUTBOX) == 1


async def test_only_a_queued_job_is_claimed_and_only_its_next_attempt(records: JobRecords, attempts: Attempts) -> None:
    job = (await records.accept(example_spec())).job
    assert attempts.claim(job.id, 2, "worker-1") is None
    assert attempts.claim("video_" + "a" * 26, 1, "worker-1") is None
    running = run(job.id, attempts)
    assert attempts.claim(job.id, 1, "worker-1") == running, "the reply to the first claim was lost"
    assert attempts.claim(job.id, 1, "worker-2") is None
    assert attempts.claim(job.id, 2, "worker-2") is None
    assert attempts.release(running)
    assert attempts.claim(job.id, 1, "worker-1") is None
    assert run(job.id, attempts, 2).attempt == 2


async def test_a_stale_attempt_changes_nothing(records: JobRecords, attempts: Attempts) -> None:
    job = (await records.accept(example_spec())).job
    stale = run(job.id, attempts)
    attempts.release(stale)
    current = run(job.id, attempts, 2)
    before = await records.get(job.id)
    assert attempts.beat(stale, Progress("denoise", 9, 9, 99, None, True)) is Verdict.LOST
    assert not attempts.complete(stale, example_result(stale))
    assert not attempts.fail(stale, CRASH)
    assert not attempts.retry(stale, CRASH)
    assert not attempts.release(stale)
    assert not attempts.confirm_cancel(stale, CRASH)
    assert await records.get(job.id) == before
    assert attempts.complete(current, example_result(current))
    assert not attempts.complete(stale, example_result(stale))
    done = await records.get(job.id)
    assert done is not None and done.result == example_result(current)


async def test_failures_back_off_and_end(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    other = (await records.accept(example_spec())).job
    job = (await records.accept(example_spec())).job
    for attempt, delay in ((1, 60), (2, 120)):
        running = run(job.id, attempts, attempt)
        assert attempts.retry(running, CRASH)
        waiting = await records.get(job.id)
        assert waiting is not None
        assert (waiting.state, waiting.queue_position, waiting.progress) == (JobState.QUEUED, 1, 0)
        due = float(str(blocking.zscore(keys.DELAYED, job.id))) / 1000
        assert due - time.time() == pytest.approx(delay, abs=2)
        assert keys.attempt_name(job.id, attempt + 1) not in blocking.lrange(QUEUE.rq_list, 0, -1)
        blocking.zadd(keys.DELAYED, {job.id: 0})
        assert await records.reap() == (0, 1)
        assert blocking.lrange(QUEUE.rq_list, 0, -1) == [f"{other.id}-a1", keys.attempt_name(job.id, attempt + 1)]
    assert attempts.retry(run(job.id, attempts, 3), CRASH)
    failed = await records.get(job.id)
    assert failed is not None
    assert (failed.state, failed.error, failed.attempt) == (JobState.FAILED, CRASH, 3)
    assert blocking.xlen(keys.OUTBOX) == 1


async def test_expired_leases_are_reaped(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    job = (await records.accept(example_spec())).job
    running = run(job.id, attempts)
    blocking.zadd(keys.LEASES, {job.id: 0})
    assert await records.reap() == (0, 0), "after a gap without reapers, workers get the time to beat first"
    blocking.hset(keys.REAPER, "quiet_until_ms", 0)
    assert await records.reap() == (1, 0)
    assert attempts.beat(running) is Verdict.LOST
    waiting = await records.get(job.id)
    assert waiting is not None and waiting.state is JobState.QUEUED
    assert blocking.zscore(keys.DELAYED, job.id) is not None


async def test_a_flagged_job_is_cancelled_however_its_attempt_ends(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    async def flagged() -> Job:
        running = run((await records.accept(example_spec())).job.id, attempts)
        await records.cancel(running.id)
        assert attempts.beat(running) is Verdict.CANCEL
        return running

    released, crashed, silent = await flagged(), await flagged(), await flagged()
    attempts.release(released)
    attempts.retry(crashed, CRASH)
    await records.reap()
    blocking.hset(keys.REAPER, "quiet_until_ms", 0)
    blocking.zadd(keys.LEASES, {silent.id: 0})
    await records.reap()
    for running in (released, crashed, silent):
        job = await records.get(running.id)
        assert job is not None and job.state is JobState.CANCELLED
        assert job.error is not None and job.error.code is ErrorCode.CANCELLED


async def test_listing(records: JobRecords, blocking: redis.Redis) -> None:
    jobs = [(await records.accept(example_spec(seed=seed))).job for seed in range(5)]
    for rank, job in enumerate(jobs):  # all in the same millisecond otherwise
        blocking.zadd(keys.INDEX, {job.id: 1000 + rank})
    ids = [job.id for job in jobs]
    await records.cancel(ids[1])
    assert [job.id for job in await records.list()] == ids[::-1]
    assert [job.id for job in await records.list(newest_first=False, limit=2)] == ids[:2]
    assert [job.id for job in await records.list(after=ids[3], limit=2)] == [ids[2], ids[1]]
    assert [job.id for job in await records.list(states=[JobState.CANCELLED])] == [ids[1]]
    assert await records.list(after="video_" + "a" * 26) == []
    blocking.delete(keys.job(ids[2]))  # as if it had expired
    assert [job.id for job in await records.list(limit=3)] == [ids[4], ids[3], ids[1]]
    assert blocking.zcard(keys.INDEX) == 4


async def test_only_ended_jobs_are_deleted(records: JobRecords, blocking: redis.Redis) -> None:
    job = (await records.accept(example_spec())).job
    assert (await records.delete(job.id)) == job
    assert await records.get(job.id) is not None
    await records.cancel(job.id)
    gone = await records.delete(job.id)
    assert gone is not None and gone.state is JobState.CANCELLED
    assert await records.get(job.id) is None
    assert await records.delete(job.id) is None
    assert not blocking.exists(keys.job(job.id), keys.events(job.id))


async def test_live_workers(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    failed = WorkerInfo(name="b", state=WorkerState.FAILED, detail="no such file", seen_seconds_ago=0)
    ready = WorkerInfo(
        name="a", state=WorkerState.READY, models=("lumiere-mini",), device="cpu float32", seen_seconds_ago=0
    )
    attempts.announce(failed)
    attempts.announce(ready)
    seen = await records.live_workers()
    assert [worker.model_copy(update={"seen_seconds_ago": 0.0}) for worker in seen] == [ready, failed]
    assert all(0 <= worker.seen_seconds_ago < 2 for worker in seen)
    attempts.depart("b")
    blocking.zadd(keys.WORKERS, {"a": (time.time() - 30) * 1000})
    assert await records.live_workers() == []


async def test_a_record_of_a_newer_release_can_be_read(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    job = (await records.accept(example_spec())).job
    text = str(blocking.hget(keys.job(job.id), "spec"))
    blocking.hset(keys.job(job.id), mapping={"spec": text[:-1] + ',"camera":"orbit"}', "tenant": "acme"})
    assert await records.get(job.id) == job
    assert run(job.id, attempts).spec == job.spec


async def test_redispatch_repairs_what_rq_lost(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    records.policy = JobPolicy(redispatch_grace_seconds=0)
    lost, popped, fine, gone = [(await records.accept(example_spec())).job for _ in range(4)]
    blocking.lrem(QUEUE.rq_list, 0, keys.attempt_name(lost.id, 1))
    blocking.lrem(QUEUE.rq_list, 0, keys.attempt_name(popped.id, 1))
    blocking.lpush(QUEUE.rq_popped, keys.attempt_name(popped.id, 1))
    run(gone.id, attempts)
    blocking.lpush(QUEUE.rq_popped, keys.attempt_name(gone.id, 1), "rubbish", "rubbish-a1")
    assert await records.redispatch() == 0, "first it is noted"
    assert await records.redispatch() == 2
    names = [keys.attempt_name(popped.id, 2), keys.attempt_name(lost.id, 2), keys.attempt_name(fine.id, 1)]
    assert sorted(map(str, blocking.lrange(QUEUE.rq_list, 0, -1))) == sorted(names)
    assert blocking.lrange(QUEUE.rq_popped, 0, -1) == []
    assert await records.redispatch() == 0
    assert attempts.claim(popped.id, 1, "zombie") is None, "whoever holds the old name comes too late"
    assert run(popped.id, attempts, 2).state is JobState.IN_PROGRESS


async def test_redispatch_finds_what_rq_lists_far_behind(records: JobRecords, blocking: redis.Redis) -> None:
    records.policy = JobPolicy(redispatch_grace_seconds=0)
    accepted = await asyncio.gather(*(records.accept(example_spec()) for _ in range(600)))
    names = blocking.lrange(QUEUE.rq_list, 0, -1)
    blocking.delete(QUEUE.rq_list)
    blocking.lpush(QUEUE.rq_list, *names)  # the first comes last
    for _ in range(2):
        assert await records.redispatch() == 0
    assert blocking.hget(keys.job(accepted[0].job.id), "missing_ms") is None

    lost = keys.split_attempt_name(names[5])[0]
    blocking.lrem(QUEUE.rq_list, 0, keys.attempt_name(lost, 1))
    assert [await records.redispatch() for _ in range(3)] == [0, 1, 0]


async def test_an_attempt_whose_number_was_given_again_is_not_superseded(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    """As when a Redis was killed and came back without its last second: the claim is forgotten, not its worker."""
    job_id = (await records.accept(example_spec())).job.id
    before = blocking.hgetall(keys.job(job_id))
    first = run(job_id, attempts)
    assert not attempts.superseded(first)
    blocking.hset(keys.job(job_id), mapping=dict(before))
    blocking.zadd(QUEUE.waiting, {job_id: 1})
    assert attempts.beat(first) is Verdict.LOST
    second = run(job_id, attempts)
    assert (second.attempt, first.attempt) == (1, 1)
    assert not attempts.superseded(first), "both write to one path"
    assert attempts.release(second)
    assert run(job_id, attempts, 2).attempt == 2
    assert attempts.superseded(first) and attempts.superseded(second)
    blocking.delete(keys.job(job_id))
    assert attempts.superseded(first)
