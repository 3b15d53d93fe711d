"""The jobs as the gateway sees them: accept, read, cancel, list. Every change is one Lua script, one round trip."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from service.jobs import keys
from service.jobs.admission import EVERYBODY, Account, Limit, Priority, QuotaExceeded, Trace
from service.jobs.batches import GroupedScript
from service.jobs.connection import RedisFull, connect, redis_errors, script
from service.jobs.contract import (
    STYLE,
    Accepted,
    ErrorCode,
    Job,
    JobError,
    JobSpec,
    JobState,
    WorkerInfo,
    is_job_id,
    new_job_id,
)
from service.jobs.pages import forget, place_of
from service.jobs.policy import WORKER_TTL_SECONDS, JobPolicy
from service.jobs.views import job_of_view, place_in_queue, read_limits, worker_of
from service.settings import Settings, SettingsError

Ids = list[str]
Jobs = list[Job]  # within JobRecords `list` is a method
WORKER_TTL_MS = round(WORKER_TTL_SECONDS * 1000)


REPEAT_SECONDS = 1200.0
"""Clients that repeat a request by themselves do so within this time."""
FULL_SHARE = 0.95
"""Of the memory that Redis may take: from here on only jobs that were accepted before go on, which needs some, too."""
LEASE_LOST = JobError(
    code=ErrorCode.WORKER_CRASHED, message="the worker died or lost its connection while it ran the job", retryable=True
)


class QueueFull(Exception):
    """No further job is taken now; `queued` jobs wait already."""

    def __init__(self, queued: int) -> None:
        super().__init__(f"the queue is full: {queued} jobs are waiting")
        self.queued = queued


class IdempotencyConflict(Exception):
    """The idempotency key was used before for another request, which became `job_id`."""

    def __init__(self, job_id: str) -> None:
        super().__init__("the idempotency key was already used for a different request")
        self.job_id = job_id


@dataclass(frozen=True, slots=True)
class Repeat:
    """How a request that bears no key of its own is recognised when a client repeats it by itself.

    `again`: whether it is such a repeat; then it stands for the last request of this `scope` that asked for the same
    within `REPEAT_SECONDS`. Otherwise it makes a job, whatever was asked for before.
    """

    scope: str
    again: bool


class JobRecords:
    """All jobs of one queue, or those that an account may see. Every method raises RedisUnavailable when Redis does not
    answer. Jobs of other owners are as if they did not exist.
    """

    def __init__(self, redis: Redis, policy: JobPolicy, account: Account = EVERYBODY) -> None:
        self.redis = redis
        self.policy = policy
        self.account = account
        self.trace = Trace()
        self.on_limits: Callable[[Sequence[Limit]], None] = lambda limits: None
        self._accept = GroupedScript(redis, script("accept"))
        self._read = redis.register_script(script("read"))
        self._cancel = redis.register_script(script("cancel"))
        self._reap = redis.register_script(script("reap"))
        self._redispatch = redis.register_script(script("redispatch"))
        self._census = redis.register_script(script("census"))

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Records on the Redis of the settings; connects on first use. Raises SettingsError without an address."""
        if settings.redis_url is None:
            raise SettingsError("LUMIERE_REDIS_URL: must be set to the address of a Redis server")
        return cls(connect(settings.redis_url), JobPolicy.of(settings))

    def of(
        self,
        account: Account,
        trace: Trace | None = None,
        on_limits: Callable[[Sequence[Limit]], None] = lambda limits: None,
    ) -> Self:
        """The same records as this account sees them; what it accepts is the account's.

        Args:
            trace: what names the request for which jobs are accepted.
            on_limits: called with what is left of the account's quotas, whenever a job is accepted or refused.
        """
        bound = object.__new__(type(self))
        bound.__dict__ |= self.__dict__  # as copy.copy does, which takes four times as long
        bound.account, bound.trace, bound.on_limits = account, trace or Trace(), on_limits
        return bound

    def may_see(self, job: Job) -> bool:
        return self.account.owner is None or job.owner == self.account.owner

    async def close(self) -> None:
        await self.redis.aclose()

    async def ping(self) -> None:
        """Returns when Redis answers."""
        with redis_errors():
            await self.redis.ping()

    async def accept(
        self,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
        priority: Priority = Priority.NORMAL,
        repeat: Repeat | None = None,
        cancel_after_seconds: float | None = None,
    ) -> Accepted:
        """Takes a job: when this returns, it is recorded and queued.

        Args:
            idempotency_key: one key of an owner makes one job, however often it is repeated.
            fingerprint: tells whether a repeat asks for the same thing; the spec itself when not given. Give one when
                parts of the spec are drawn anew for each request (the seed).
            repeat: for keys that the caller has made up from what is asked for.
            cancel_after_seconds: the job is cancelled when it has not ended by then.

        Raises:
            QueueFull: max_queued_jobs are waiting.
            QuotaExceeded: the account may not ask for this now.
            IdempotencyConflict: the key was used for another request.
            RedisFull: see `watch_memory`.
        """
        text = spec.model_dump_json()
        account = self.account
        owner = account.owner or ""
        known, print_ = "", ""
        if idempotency_key is not None:
            known = keys.idempotency(hashlib.sha256(f"{owner} {idempotency_key}".encode()).hexdigest())
            print_ = hashlib.sha256((fingerprint or text).encode()).hexdigest()
        job_id = new_job_id()
        arguments: list[str | int | float] = [
            job_id,
            text,
            self.policy.queue_of(spec.model),
            spec.model,
            spec.shape,
            repr(spec.cost),
            spec.num_inference_steps,
            self.policy.retention_seconds,
            self.policy.max_queued_jobs,
            known,
            print_,
            WORKER_TTL_MS,
            owner,
            account.key_id,
            account.weight,
            priority,
            *(
                "" if bound is None else bound
                for bound in (
                    account.quota.requests_per_minute,
                    account.quota.cost_per_hour,
                    account.quota.active_jobs,
                )
            ),
            self.trace.request_id,
            self.trace.traceparent,
            "" if repeat is None else round(REPEAT_SECONDS * 1000) if repeat.again else 0,
            "" if cancel_after_seconds is None else round(cancel_after_seconds * 1000),
        ]
        verdict, subject, *rest = await self._accept(arguments)
        if verdict == "no room":
            raise RedisFull("Redis is nearly full: the jobs that it has need the rest")
        if verdict == "full":
            raise QueueFull(int(subject))
        if verdict == "conflict":
            raise IdempotencyConflict(subject)
        if verdict == "quota":
            wait, limits = rest[0], read_limits(rest[1])
            self.on_limits(limits)
            raise QuotaExceeded(subject, float(wait) / 1000 if wait else None, limits)
        limits = read_limits(rest[0]) if rest else ()
        self.on_limits(limits)
        if verdict == "replayed":
            known_job = job_of_view(subject)
            assert known_job is not None
            return Accepted(job=known_job, replayed=True, limits=limits)
        job = Job(
            id=job_id,
            spec=spec,
            state=JobState.QUEUED,
            steps_total=spec.num_inference_steps,
            created_at=int(subject[0]) / 1000,
            owner=owner,
            key_id=account.key_id,
            request_id=self.trace.request_id,
            traceparent=self.trace.traceparent,
            **place_in_queue(spec, subject),
        )
        return Accepted(job=job, replayed=False, limits=limits)

    async def get(self, job_id: str) -> Job | None:
        """The job with its queue position and ETA; None when there is none (any more)."""
        if not is_job_id(job_id):
            return None
        with redis_errors():
            view = await self._read(args=[job_id, WORKER_TTL_MS])
        job = job_of_view(view)
        return job if job is not None and self.may_see(job) else None

    async def cancel(self, job_id: str) -> Job | None:
        """Cancels a queued job at once and asks the worker of a running one to stop; the job after that."""
        if not is_job_id(job_id):
            return None
        if self.account.owner is not None and await self.get(job_id) is None:
            return None
        with redis_errors():
            await self._cancel(args=[job_id])
        return await self.get(job_id)

    async def delete(self, job_id: str) -> Job | None:
        """Forgets a job that has ended; its video is the caller's to delete. The job as it was.

        A job that still runs is left as it is: cancel it first, and look at the state of what is returned.
        """
        job = await self.get(job_id)
        if job is not None and job.state.terminal:
            with redis_errors():
                await self.redis.delete(keys.job(job_id), keys.events(job_id))
                await forget(self.redis, job_id, keys.INDEX, *([keys.owned(job.owner)] if job.owner else []))
        return job

    async def live_workers(self) -> Sequence[WorkerInfo]:
        """The workers heard of in the last WORKER_TTL_SECONDS, by name."""
        with redis_errors():
            now = await self._now_ms()
            await self.redis.zremrangebyscore(keys.WORKERS, 0, now - 60_000)
            since = now - WORKER_TTL_MS
            seen = cast(
                list[tuple[str, float]],
                await self.redis.zrangebyscore(keys.WORKERS, since, "+inf", withscores=True),
            )
            async with self.redis.pipeline(transaction=False) as pipeline:
                for name, _ in seen:
                    pipeline.hgetall(keys.worker(name))
                facts = await pipeline.execute()
        workers = [
            worker_of(name, fields, (now - at) / 1000) for (name, at), fields in zip(seen, facts, strict=True) if fields
        ]
        return sorted(workers, key=lambda worker: worker.name)

    async def warm_workers(self, models: Sequence[str]) -> Mapping[str, int]:
        """How many live workers hold each model warm and take its jobs."""
        counts = await self.census(models)
        return {model: int(warm) for model, (*_, warm) in zip(models, counts, strict=True)}

    async def weights_of(self, model: str) -> str:
        """The digest of a model's weights, as workers have them; empty where none has ever loaded it."""
        with redis_errors():
            return str(await self.redis.get(keys.QueueKeys(self.policy.queue_of(model)).weights) or "")

    async def census(self, models: Sequence[str]) -> Sequence[Sequence[Any]]:
        """What waits and runs for each model; see census.lua."""
        with redis_errors():
            told = await self._census(args=[WORKER_TTL_MS, *map(self.policy.queue_of, models)])
        return cast(Sequence[Sequence[Any]], told)

    async def list(
        self, *, after: str | None = None, limit: int = 20, newest_first: bool = True, states: Sequence[JobState] = ()
    ) -> Sequence[Job]:
        """Up to `limit` jobs that make videos by time of creation, beginning behind the job `after`. An unknown `after`
        gives none.

        `states`: only jobs in one of these, all when empty.
        """
        found: Jobs = []
        index = keys.INDEX if self.account.owner is None else keys.owned(self.account.owner)
        with redis_errors():
            rank = -1
            if after is not None:
                place = (
                    await place_of(self.redis, index, after, newest_first=newest_first) if is_job_id(after) else None
                )
                if place is None:
                    return []
                rank = place
            while len(found) < limit:
                page = cast(Ids, await self.redis.zrange(index, rank + 1, rank + limit, desc=newest_first))
                if not page:
                    break
                jobs = await self._get_many(page)
                gone = [job_id for job_id, job in zip(page, jobs, strict=True) if job is None]
                if gone:  # their records have expired
                    await self.redis.zrem(index, *gone)
                found += [
                    job
                    for job in jobs
                    if job is not None and job.spec.task != STYLE and (not states or job.state in states)
                ]
                rank += len(page) - len(gone)
        return found[:limit]

    async def reap(self) -> tuple[int, int]:
        """One pass over expired leases and delayed jobs: how many jobs lost their worker, how many were dispatched."""
        policy = self.policy
        gap = max(3 * policy.reap_interval_seconds, 2.0)
        arguments: list[str | int | float] = [
            round(gap * 1000),
            round(policy.lease_seconds * 500),
            100,
            policy.max_attempts,
            LEASE_LOST.model_dump_json(),
            *policy.backoff_seconds,
        ]
        with redis_errors():
            lost, due = await self._reap(args=arguments)
        return int(lost), int(due)

    async def redispatch(self) -> int:
        """Dispatches queued jobs of all queues anew that RQ has lost on the way to a worker; how many."""
        grace = round(self.policy.redispatch_grace_seconds * 1000)
        with redis_errors():
            return int(await self._redispatch(args=[grace]))

    async def watch_memory(self) -> None:
        """Has all gateways refuse new jobs for some passes of the reaper when Redis is nearly full.

        Where the gateway's Redis user may not look at the memory, nothing is watched.
        """
        with redis_errors():
            try:
                memory = await self.redis.info("memory")
            except NoPermissionError:
                return
            most = int(memory["maxmemory"])  # 0: no limit
            if most and int(memory["used_memory"]) > FULL_SHARE * most:
                await self.redis.set(keys.FULL, 1, px=round(5000 * self.policy.reap_interval_seconds))

    async def forget_expired(self) -> None:
        """Takes the ids of jobs whose records have expired out of the indexes, the oldest first."""
        with redis_errors():
            indexes = [keys.INDEX, *[str(index) async for index in self.redis.scan_iter(match=keys.owned("*"))]]
        for index in indexes:
            await self._forget_expired(index)

    async def _forget_expired(self, index: str) -> None:
        while True:
            with redis_errors():
                oldest = cast(Ids, await self.redis.zrange(index, 0, 99))
                if not oldest:
                    return
                gone = [job_id for job_id in oldest if not await self.redis.exists(keys.job(job_id))]
                if gone:
                    await self.redis.zrem(index, *gone)
            if len(gone) < len(oldest):
                return

    async def _get_many(self, job_ids: Sequence[str]) -> Sequence[Job | None]:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                await self._read(args=[job_id, WORKER_TTL_MS], client=pipeline)
            return [job_of_view(view) for view in await pipeline.execute()]

    async def _now_ms(self) -> float:
        seconds, microseconds = await self.redis.time()
        return float(seconds * 1000 + microseconds / 1000)
