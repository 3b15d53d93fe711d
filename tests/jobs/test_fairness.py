"""Whose job comes next, what an account may ask for, and whose jobs it sees, on a real Redis."""

from collections import Counter
from typing import Any

import pytest
import redis

from service.jobs import keys
from service.jobs.admission import Account, Priority, Quota, QuotaExceeded
from service.jobs.attempts import Attempts
from service.jobs.contract import Job, JobState
from service.jobs.policy import JobPolicy
from service.jobs.record import JobRecords
from tests.jobs.examples import example_result, example_spec

QUEUE = keys.QueueKeys("lumiere.lumiere-mini")


@pytest.fixture
def attempts(blocking: redis.Redis) -> Attempts:
    return Attempts(blocking, JobPolicy(backoff_seconds=(60.0,)))


def account(name: str, weight: float = 1.0, **quota: Any) -> Account:
    return Account(owner=name, key_id=name, weight=weight, quota=Quota(**quota))


async def submit(records: JobRecords, name: str, number: int = 1, weight: float = 1.0, **options: Any) -> list[Job]:
    mine = records.of(account(name, weight))
    return [(await mine.accept(example_spec(), **options)).job for _ in range(number)]


def pop(blocking: redis.Redis, attempts: Attempts) -> Job:
    """What the next free worker does."""
    name = blocking.lmove(QUEUE.rq_list, QUEUE.rq_popped)
    job = attempts.claim(*keys.split_attempt_name(str(name)), "w")
    assert job is not None
    return job


def owners(blocking: redis.Redis, attempts: Attempts, number: int) -> str:
    """The owners of the next so many jobs, each of which is run to its end."""
    order = ""
    for _ in range(number):
        job = pop(blocking, attempts)
        assert attempts.complete(job, example_result(job))
        order += job.owner
    return order


async def test_a_flood_of_one_key_does_not_delay_another(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    await submit(records, "a", 200)
    running = pop(blocking, attempts)
    late = (await submit(records, "b"))[0]
    assert late.queue_position == 0
    assert pop(blocking, attempts).id == late.id
    assert attempts.complete(running, example_result(running))
    # More of both: from now on they take turns, and a third one joins them at once.
    await submit(records, "b", 10)
    assert owners(blocking, attempts, 6) == "ababab"
    await submit(records, "c", 2)
    assert Counter(owners(blocking, attempts, 6)) == {"a": 2, "b": 2, "c": 2}


async def test_the_list_that_workers_pop_from_has_the_order_of_the_queue(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    for name, number in (("a", 12), ("b", 5), ("c", 3)):
        await submit(records, name, number)
    lost = pop(blocking, attempts)
    assert attempts.release(lost)
    waiting = list(map(str, blocking.zrange(QUEUE.waiting, 0, -1)))
    listed = [keys.split_attempt_name(str(name))[0] for name in blocking.lrange(QUEUE.rq_list, 0, -1)]
    assert listed == waiting
    assert waiting[0] == lost.id, "what was handed back keeps its turn"
    seen = [await records.get(job_id) for job_id in waiting]
    assert [job and job.queue_position for job in seen] == list(range(20))


async def test_a_job_handed_back_keeps_its_place_although_the_queue_was_empty(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    await submit(records, "a", 20)
    for _ in range(19):
        running = pop(blocking, attempts)
        attempts.complete(running, example_result(running))
    last = pop(blocking, attempts)
    later = (await submit(records, "a", 2)) + (await submit(records, "b"))
    assert attempts.release(last)
    back = await records.get(last.id)
    assert back is not None and back.queue_position == 0
    assert pop(blocking, attempts).id == last.id
    assert {pop(blocking, attempts).id for _ in later} == {job.id for job in later}


async def test_shares_follow_weights_and_costs(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    await submit(records, "a", 40, weight=3.0)
    await submit(records, "b", 40)
    assert Counter(owners(blocking, attempts, 40)) == {"a": 30, "b": 10}
    heavy = records.of(account("c"))
    for _ in range(5):
        await heavy.accept(example_spec(num_inference_steps=40))  # ten times the work of the others' jobs
    order = owners(blocking, attempts, 24)
    assert (order[:20].count("c"), order.count("c")) == (1, 2), "and ten turns of theirs for each of its own"


async def test_an_idle_key_saves_nothing_up(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    await submit(records, "b")
    await submit(records, "a", 30)
    owners(blocking, attempts, 20)
    await submit(records, "b", 5)
    assert owners(blocking, attempts, 6) in ("bababa", "ababab")


async def test_cancelled_jobs_cost_no_turns(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    jobs = await submit(records, "a", 50)
    await submit(records, "b", 20)
    for job in jobs[1:]:
        await records.cancel(job.id)
    await submit(records, "a", 5)
    assert Counter(owners(blocking, attempts, 10)) == {"a": 5, "b": 5}


async def test_priorities_go_first_and_keep_shares_apart(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    await submit(records, "l", 2, priority=Priority.LOW)
    await submit(records, "n", 2)
    await submit(records, "h", 2, priority=Priority.HIGH)
    await submit(records, "i", 1, priority=Priority.HIGH)
    assert owners(blocking, attempts, 7) == "hihnnll"


async def test_without_keys_the_order_is_that_of_acceptance(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    costs = [(await records.accept(example_spec(num_inference_steps=steps))).job.id for steps in (9, 1, 30, 2, 2, 50)]
    assert [pop(blocking, attempts).id for _ in costs] == costs
    assert not blocking.exists(QUEUE.turns, QUEUE.waiting, QUEUE.since, QUEUE.cost)


async def test_a_key_may_have_so_many_jobs_at_once(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    mine = records.of(account("a", active_jobs=2))
    first = await mine.accept(example_spec())
    assert [(limit.name, limit.limit, limit.remaining) for limit in first.limits] == [("jobs", 2, 1)]
    second = await mine.accept(example_spec())
    running = pop(blocking, attempts)
    with pytest.raises(QuotaExceeded) as refused:
        await mine.accept(example_spec())
    assert (refused.value.name, refused.value.retry_seconds) == ("jobs", None)
    assert refused.value.limits[0].remaining == 0
    await submit(records, "b")  # another key has its own
    attempts.complete(running, example_result(running))
    await mine.accept(example_spec())
    await mine.cancel(second.job.id)
    await mine.accept(example_spec())
    assert blocking.scard(keys.active("a")) == 2


async def test_requests_refill_by_the_minute(records: JobRecords, blocking: redis.Redis) -> None:
    mine = records.of(account("a", requests_per_minute=3))
    remaining = [(await mine.accept(example_spec())).limits[0].remaining for _ in range(3)]
    assert remaining == pytest.approx([2, 1, 0], abs=0.2)
    with pytest.raises(QuotaExceeded) as refused:
        await mine.accept(example_spec())
    assert refused.value.name == "requests"
    assert refused.value.retry_seconds == pytest.approx(20, abs=3)
    due = float(str(blocking.get("lumiere:account:a:requests")))
    blocking.set("lumiere:account:a:requests", due - 20_000)  # as if so much time had passed
    await mine.accept(example_spec())


async def test_cost_refills_by_the_hour_and_a_large_job_waits_for_a_full_bucket(
    records: JobRecords, blocking: redis.Redis
) -> None:
    cost = example_spec().cost
    mine = records.of(account("a", cost_per_hour=cost * 1.5))
    large = await mine.accept(example_spec(num_inference_steps=12))  # three times the hour's work
    assert large.limits[0].remaining == 0
    with pytest.raises(QuotaExceeded) as refused:
        await mine.accept(example_spec())
    assert refused.value.name == "cost"
    assert refused.value.retry_seconds == pytest.approx(3600 * (2 - 1 + 2 / 3), rel=0.01)


async def test_what_is_refused_is_not_charged(records: JobRecords, blocking: redis.Redis) -> None:
    mine = records.of(account("a", requests_per_minute=2, active_jobs=1))
    await mine.accept(example_spec(), idempotency_key="k")
    for _ in range(5):
        with pytest.raises(QuotaExceeded):
            await mine.accept(example_spec())
        assert (await mine.accept(example_spec(), idempotency_key="k")).replayed
    await records.cancel(str(next(iter(blocking.smembers(keys.active("a"))))))
    assert (await mine.accept(example_spec())).limits[0].remaining == pytest.approx(0, abs=0.3)


async def test_jobs_of_others_do_not_exist(records: JobRecords, blocking: redis.Redis) -> None:
    theirs = (await submit(records, "b"))[0]
    mine = records.of(account("a"))
    own = (await mine.accept(example_spec(), idempotency_key="k")).job
    assert await mine.get(theirs.id) is None
    assert await mine.cancel(theirs.id) is None
    assert await mine.delete(theirs.id) is None
    assert [job.id for job in await mine.list()] == [own.id]
    assert await mine.list(after=theirs.id) == []
    assert (await records.of(account("b")).accept(example_spec(), idempotency_key="k")).job.id != own.id
    assert {job.id for job in await records.list()} >= {own.id, theirs.id}
    still = await records.get(theirs.id)
    assert still is not None and still.state is JobState.QUEUED
    await mine.cancel(own.id)
    assert await mine.delete(own.id) is not None
    assert await mine.list() == []
    assert blocking.zcard(keys.owned("a")) == 0


async def test_expired_records_leave_every_index(records: JobRecords, blocking: redis.Redis) -> None:
    job = (await submit(records, "a"))[0]
    blocking.delete(keys.job(job.id))
    await records.forget_expired()
    assert not blocking.exists(keys.INDEX, keys.owned("a"))
