"""The jobs as a worker sees them: claim an attempt, beat while it runs, end it. Blocking calls.

Every call after `claim` carries the attempt's number, and the record refuses all but the current one: a worker that was
paused or cut off cannot change a job that was given to another.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from service.jobs import keys
from service.jobs.connection import redis_errors, script
from service.jobs.contract import Job, JobError, JobResult, JobState, WorkerInfo, WorkerState
from service.jobs.policy import WORKER_TTL_SECONDS, JobPolicy
from service.jobs.views import job_of_record

PRIORITY_BAND = 1e12
"""Turns of jobs of a higher priority are so much lower; common.lua has the same."""


class Verdict(StrEnum):
    """What the record answers to a beat."""

    GO = "go"
    CANCEL = "cancel"
    LOST = "lost"


@dataclass(frozen=True)
class Progress:
    """How far an attempt is. `tell`: whether followers of the job's events shall hear of it now.

    preview: the video as it looks so far, a small WebP, or nothing; each one is told.
    """

    stage: str
    step: int
    steps: int
    percent: int
    eta_seconds: float | None
    tell: bool
    preview: bytes = b""


class Attempts:
    """Every method raises RedisUnavailable when Redis does not answer; all of them may then be repeated."""

    def __init__(self, client: redis.Redis, policy: JobPolicy) -> None:
        self.redis = client
        self.policy = policy
        self.lease_ms = round(policy.lease_seconds * 1000)
        self._claim = client.register_script(script("claim"))
        self._beat = client.register_script(script("beat"))
        self._finish = client.register_script(script("finish"))
        self._retry = client.register_script(script("retry"))
        self._release = client.register_script(script("release"))

    def claim(self, job_id: str, attempt: int, worker: str, queue: str = "") -> Job | None:
        """The job, now in progress under a lease; None when this attempt of it is not to be run (any more).

        queue: the one that the attempt was popped from; a job of another model is not given to it.
        """
        claimed = self.claim_batch(job_id, attempt, worker, queue)
        return claimed[0] if claimed else None

    def claim_batch(self, job_id: str, attempt: int, worker: str, queue: str = "", most: int = 1) -> list[Job]:
        """As `claim`, with up to `most` - 1 other jobs of the queue that can be made as one batch with it."""
        with redis_errors():
            records = self._claim(args=[job_id, attempt, worker, self.lease_ms, queue, most])
        return [job_of_record(dict(zip(flat[::2], flat[1::2], strict=True))) for flat in records]

    def beat(self, job: Job, progress: Progress | None = None) -> Verdict:
        """Renews the lease and records progress."""
        arguments: list[str | int] = [job.id, job.attempt, self.lease_ms]
        if progress is not None:
            eta = "" if progress.eta_seconds is None else round(progress.eta_seconds * 1000)
            arguments += [progress.stage, progress.step, progress.steps, progress.percent, eta, int(progress.tell)]
            arguments.append(base64.b64encode(progress.preview).decode())
        with redis_errors():
            return Verdict(self._beat(args=arguments))

    def complete(self, job: Job, result: JobResult) -> bool:
        """Ends the job as completed; False when the attempt was no longer the current one."""
        return self._end(job, JobState.COMPLETED, result.model_dump_json(), "")

    def fail(self, job: Job, error: JobError) -> bool:
        """Ends the job as failed, without another attempt."""
        return self._end(job, JobState.FAILED, "", error.model_dump_json())

    def confirm_cancel(self, job: Job, error: JobError) -> bool:
        """Ends the job as cancelled."""
        return self._end(job, JobState.CANCELLED, "", error.model_dump_json())

    def retry(self, job: Job, error: JobError) -> bool:
        """Queues the job again after a pause, or fails it with this error once its attempts are spent."""
        policy = self.policy
        failure = error.model_dump_json()
        arguments: list[str | int | float] = [
            job.id,
            job.attempt,
            failure,
            policy.max_attempts,
            *policy.backoff_seconds,
        ]
        with redis_errors():
            return bool(self._retry(args=arguments) == "done")

    def release(self, job: Job) -> bool:
        """Hands the job back to the front of the queue; the attempt does not count."""
        with redis_errors():
            return bool(self._release(args=[job.id, job.attempt]) == "done")

    def superseded(self, job: Job) -> bool:
        """Whether no attempt of this number can be the one that counts: there is a later one, or no such job."""
        with redis_errors():
            attempt = self.redis.hget(keys.job(job.id), "attempt")
        return attempt is None or int(str(attempt)) > job.attempt

    def drop(self, attempt_name: str, queue: str) -> None:
        """Throws away what RQ carried under this name; the job itself, if there is one, is not touched."""
        with redis_errors():
            self.redis.lrem(keys.QueueKeys(queue).rq_popped, 0, attempt_name)
            self.redis.delete(keys.RQ_JOB_PREFIX + attempt_name)

    def by_urgency(self, queues: Sequence[str]) -> list[str]:
        """Those of the queues in which jobs wait: by the priority of their first job, else in the order given."""
        with redis_errors(), self.redis.pipeline(transaction=False) as pipeline:
            for queue in queues:
                pipeline.zrange(keys.QueueKeys(queue).waiting, 0, 0, withscores=True)
            fronts = pipeline.execute()
        bands = {
            queue: round(front[0][1] / PRIORITY_BAND) for queue, front in zip(queues, fronts, strict=True) if front
        }
        return sorted(bands, key=bands.__getitem__)

    def announce(self, worker: WorkerInfo) -> None:
        """Tells that a worker lives, for the next WORKER_TTL_SECONDS, and takes jobs of its models if they are warm."""
        key = keys.worker(worker.name)
        serves = worker.state in (WorkerState.READY, WorkerState.BUSY)
        with redis_errors():
            seconds, microseconds = self.redis.time()
            now = seconds * 1000 + microseconds // 1000
            with self.redis.pipeline(transaction=True) as pipeline:
                facts: dict[str | bytes | bytearray | memoryview | int | float, Any] = {
                    "state": worker.state,
                    "models": ",".join(worker.models),
                    "detail": worker.detail,
                    "device": worker.device,
                }
                pipeline.hset(key, mapping=facts)
                pipeline.pexpire(key, round(WORKER_TTL_SECONDS * 1000))
                pipeline.zadd(keys.WORKERS, {worker.name: now})
                for serving in self._serving(worker.models):
                    if serves:
                        pipeline.zadd(serving, {worker.name: now})
                    else:
                        pipeline.zrem(serving, worker.name)
                pipeline.execute()

    def tell_weights(self, digests: Mapping[str, str]) -> None:
        """Tells which weights the models have that a worker has loaded."""
        with redis_errors():
            for model, digest in digests.items():
                self.redis.set(keys.QueueKeys(self.policy.queue_of(model)).weights, digest)

    def depart(self, name: str) -> None:
        """Tells that a worker is gone."""
        with redis_errors():
            models = str(self.redis.hget(keys.worker(name), "models") or "")
            with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(keys.worker(name))
                pipeline.zrem(keys.WORKERS, name)
                for serving in self._serving(filter(None, models.split(","))):
                    pipeline.zrem(serving, name)
                pipeline.execute()

    def _serving(self, models: Iterable[str]) -> list[str]:
        """The keys in which the workers of these models are listed."""
        return [keys.QueueKeys(self.policy.queue_of(model)).workers for model in models]

    def _end(self, job: Job, state: JobState, result: str, error: str) -> bool:
        with redis_errors():
            return bool(self._finish(args=[job.id, job.attempt, state, result, error]) == "done")
