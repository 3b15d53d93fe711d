"""Random histories of clients, workers, clocks and faults against the scripts on a real Redis, beside a plain model."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from service.jobs import keys
from service.jobs.admission import EVERYBODY, Account, Priority
from service.jobs.attempts import Attempts, Progress, Verdict
from service.jobs.connection import connect, connect_blocking
from service.jobs.contract import ErrorCode, Job, JobError, JobState
from service.jobs.policy import JobPolicy
from service.jobs.record import JobRecords, QueueFull
from tests.jobs.examples import example_result, example_spec

Result = TypeVar("Result")
POLICY = JobPolicy(max_queued_jobs=4, max_attempts=2, backoff_seconds=(60.0,), redispatch_grace_seconds=0)
CRASH = JobError(code=ErrorCode.WORKER_CRASHED, message="crashed", retryable=True)
QUEUE = keys.QueueKeys(POLICY.queue_of("lumiere-mini"))
ACCOUNTS = (EVERYBODY, Account(owner="a", key_id="a"), Account(owner="b", key_id="b", weight=3.0))


def machine_on(url: str, loop: asyncio.AbstractEventLoop) -> type[RuleBasedStateMachine]:
    blocking = connect_blocking(url)

    def wait(call: Coroutine[Any, Any, Result]) -> Result:
        return loop.run_until_complete(call)

    class Histories(RuleBasedStateMachine):
        """`running` holds every attempt ever claimed: stale ones act again and again, as zombies would."""

        jobs = Bundle("jobs")
        running = Bundle("running")

        def __init__(self) -> None:
            super().__init__()
            blocking.flushall()
            self.records = JobRecords(connect(url), POLICY)
            self.attempts = Attempts(blocking, POLICY)
            self.accepted: set[str] = set()
            self.ended: dict[str, Job] = {}
            self.current: dict[str, int] = {}
            self.highest: dict[str, int] = {}

        def teardown(self) -> None:
            wait(self.records.close())

        @rule(target=jobs, account=st.sampled_from(ACCOUNTS), priority=st.sampled_from(Priority))
        def accept(self, account: Account, priority: Priority) -> Any:
            queued = blocking.zcard(QUEUE.waiting)
            try:
                job = wait(self.records.of(account).accept(example_spec(), priority=priority)).job
            except QueueFull:
                assert queued >= POLICY.max_queued_jobs
                return multiple()
            assert queued < POLICY.max_queued_jobs
            self.accepted.add(job.id)
            return job.id

        @rule(target=running, worker=st.sampled_from(["w1", "w2"]))
        def pop_and_claim(self, worker: str) -> Any:
            name = blocking.lmove(QUEUE.rq_list, QUEUE.rq_popped)
            if name is None:
                return multiple()
            job_id, attempt = keys.split_attempt_name(str(name))
            job = self.attempts.claim(job_id, attempt, worker)
            if job is None:
                return multiple()
            assert job_id not in self.current, "two attempts of one job run"
            assert attempt > self.highest.get(job_id, 0), "an attempt number was used twice"
            self.current[job_id] = self.highest[job_id] = attempt
            return job

        @rule()
        def pop_and_die(self) -> None:
            blocking.lmove(QUEUE.rq_list, QUEUE.rq_popped)

        def is_current(self, job: Job) -> bool:
            return self.current.get(job.id) == job.attempt

        @rule(job=running, step=st.integers(0, 4))
        def beat(self, job: Job, step: int) -> None:
            verdict = self.attempts.beat(job, Progress("denoise", step, 4, 20 * step, None, True))
            assert (verdict is Verdict.LOST) == (not self.is_current(job))

        @rule(job=running)
        def complete(self, job: Job) -> None:
            self.end(job, self.attempts.complete(job, example_result(job)), JobState.COMPLETED)

        @rule(job=running)
        def fail(self, job: Job) -> None:
            self.end(job, self.attempts.fail(job, CRASH), JobState.FAILED)

        def end(self, job: Job, done: bool, state: JobState) -> None:
            before = self.ended.get(job.id)
            repeat = before is not None and (before.state, before.attempt) == (state, job.attempt)
            assert done == (self.is_current(job) or repeat)
            if done:
                self.current.pop(job.id, None)

        @rule(job=running)
        def retry(self, job: Job) -> None:
            assert self.attempts.retry(job, CRASH) == self.is_current(job)
            self.drop_if_current(job)

        @rule(job=running)
        def release(self, job: Job) -> None:
            assert self.attempts.release(job) == self.is_current(job)
            self.drop_if_current(job)

        def drop_if_current(self, job: Job) -> None:
            if self.is_current(job):
                del self.current[job.id]

        @rule(job_id=jobs)
        def cancel(self, job_id: str) -> None:
            job = wait(self.records.cancel(job_id))
            assert job is not None
            assert job.state.terminal or job.cancel_requested

        @rule(job=consumes(running))
        def lease_expires(self, job: Job) -> None:
            if self.is_current(job):
                blocking.zadd(keys.LEASES, {job.id: 0})
                wait(self.records.reap())
                blocking.hset(keys.REAPER, "quiet_until_ms", 0)
                wait(self.records.reap())
                del self.current[job.id]
                after = wait(self.records.get(job.id))
                assert after is not None and after.state is not JobState.IN_PROGRESS

        @rule()
        def delays_end(self) -> None:
            for job_id in blocking.zrange(keys.DELAYED, 0, -1):
                blocking.zadd(keys.DELAYED, {job_id: 0})
            wait(self.records.reap())

        @rule()
        def redispatch(self) -> None:
            wait(self.records.redispatch())
            wait(self.records.redispatch())

        @invariant()
        def nothing_is_lost_and_nothing_ends_twice(self) -> None:
            rows: Any = blocking.xrange(keys.OUTBOX)
            ended = [row["job"] for _, row in rows]
            assert len(ended) == len(set(ended))
            waiting: Any = blocking.zrange(QUEUE.waiting, 0, -1)
            names: Any = blocking.lrange(QUEUE.rq_list, 0, -1)
            listed = [keys.split_attempt_name(name)[0] for name in names]
            assert listed == [job_id for job_id in waiting if job_id in listed], "workers pop in the queue's order"
            assert sorted(waiting) == sorted(map(str, blocking.zrange(QUEUE.since, 0, -1)))
            cost = 0.0
            active = {account.key_id: set[str]() for account in ACCOUNTS if account.key_id}
            for job_id in self.accepted:
                job = wait(self.records.get(job_id))
                assert job is not None
                assert (job_id in ended) == job.state.terminal
                assert (job_id in waiting) == (job.state is JobState.QUEUED)
                assert (blocking.zscore(keys.LEASES, job_id) is not None) == (job.state is JobState.IN_PROGRESS)
                assert (job_id in self.current) == (job.state is JobState.IN_PROGRESS)
                assert (job.result is not None) == (job.state is JobState.COMPLETED)
                if job.key_id and not job.state.terminal:
                    active[job.key_id].add(job_id)
                cost += job.spec.cost if job.state is JobState.QUEUED else 0.0
                if job_id in self.ended:
                    assert job == self.ended[job_id], "a terminal state changed"
                elif job.state.terminal:
                    self.ended[job_id] = job
            assert float(str(blocking.get(QUEUE.cost) or 0)) == pytest.approx(cost)
            assert active == {account: blocking.smembers(keys.active(account)) for account in active}

    return Histories


def test_histories(redis_url: str) -> None:
    with asyncio.Runner() as runner:
        machine = machine_on(redis_url, runner.get_loop())
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=False,
            ),
        )


def test_every_job_ends_when_the_faults_stop(redis_url: str, blocking: redis.Redis) -> None:
    """After any mixture of losses, a worker that only pops and completes brings every job to an end."""

    async def drain() -> None:
        records = JobRecords(connect(redis_url), POLICY)
        attempts = Attempts(blocking, POLICY)
        ids = [(await records.accept(example_spec())).job.id for _ in range(4)]
        blocking.lmove(QUEUE.rq_list, QUEUE.rq_popped)
        blocking.delete(QUEUE.rq_list)
        for _ in range(3):
            await records.redispatch()
        while (name := blocking.lmove(QUEUE.rq_list, QUEUE.rq_popped)) is not None:
            job = attempts.claim(*keys.split_attempt_name(str(name)), "w")
            assert job is not None and attempts.complete(job, example_result(job))
        jobs = [await records.get(job_id) for job_id in ids]
        assert [job and job.state for job in jobs] == [JobState.COMPLETED] * 4
        await records.close()

    asyncio.run(drain())
