"""The worker that RQ runs: takes attempts from the queue and has its work-horse run them. Imports no torch."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, StopRequested
from rq.job import Job as RqJob
from rq.worker import WorkerStatus
from structlog.contextvars import bound_contextvars

from service.jobs.attempts import Attempts
from service.jobs.connection import TIMEOUT_SECONDS, RedisUnavailable, connect_blocking
from service.jobs.contract import Job, WorkerInfo, WorkerState
from service.jobs.policy import JobPolicy
from service.jobs.queue import AttemptJob, AttemptRefused, attempt_of
from service.settings import Settings
from service.storage import Storage
from service.telemetry.traces import attempt_span, note_outcome
from workers.messages import LoadFailed, Ready
from workers.metrics import WorkerMetrics
from workers.shutdown import Shutdown
from workers.stable import Horse, HorseDied
from workers.watch import AttemptWatch, settle, watch_over
from workers.workdir import Workdir

log = logging.getLogger(__name__)

POP_SECONDS = 1
"""How long one blocking pop waits; an idle worker stops within this."""
GLANCE_SECONDS = 0.1
"""How long an idle worker of several models waits at the queue of one of them."""
GPU_BATCH = 4
"""Videos that a GPU makes at once, unless the settings say otherwise."""
ANNOUNCE_SECONDS = 2.0
RECONNECT_SECONDS = 1.0
LOAD_RETRY_SECONDS = 60.0
"""Between two tries to load models that cannot be loaded."""


class Supervisor(SimpleWorker):
    """One queue for each model, one work-horse. `live` is its whole life; RQ's `work` is the loop within it.

    Of RQ only popping is used. Its signal handlers, pub/sub commands, registries and maintenance are switched off: the
    record and the reaper do what they are for, and none of them may end this process or change a job.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        runtime: str,
        shutdown: Shutdown,
        load_retry_seconds: float,
        metrics: WorkerMetrics,
    ) -> None:
        self.settings = settings
        self.shutdown = shutdown
        self.load_retry_seconds = load_retry_seconds
        self.metrics = metrics
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.info = WorkerInfo(name=name, state=WorkerState.LOADING, seen_seconds_ago=0)
        self.announced_at = float("-inf")
        self.weights: Mapping[str, str] = {}
        # Not RQ's connection, whose time-outs are those of blocking pops.
        self.attempts = Attempts(connect_blocking(redis_url), JobPolicy.of(settings))
        self.storage = Storage.open(settings)
        super().__init__(
            [],  # until the horse says which models it holds
            name=name,
            connection=rq_connection(redis_url),
            job_class=AttemptJob,
            serializer="json",
            worker_ttl=20,
        )
        self.workdir = Workdir(settings.data_dir.resolve() / "work", name)
        self.horse = Horse(runtime, settings, self.workdir.path)

    def live(self) -> None:
        """Works until a shutdown is requested; outlives outages of Redis and deaths of the horse."""
        try:
            while not self.shutdown.requested:
                try:
                    self.work()
                except redis.RedisError as error:
                    log.warning("waiting for Redis: %s", error)
                self.shutdown.sleep(RECONNECT_SECONDS)
        finally:
            self.horse.kill()
            self.workdir.remove()
            try:
                self.attempts.depart(self.name)
            except RedisUnavailable as error:
                log.warning("Redis does not know that this worker stops: %s", error)

    # What RQ's loop calls, in its order.

    def bootstrap(self, *arguments: Any, **options: Any) -> None:
        self.connection.delete(self.key)  # left by an earlier round that lost its connection
        self.register_birth()  # type: ignore[no-untyped-call]  # rq is typed in part
        self.set_state(WorkerStatus.STARTED)

    def _install_signal_handlers(self) -> None:
        """`Shutdown` has its own."""

    def run_maintenance_tasks(self) -> None:
        """The reaper does what is needed."""

    @property
    def should_run_maintenance_tasks(self) -> bool:
        return False

    @property
    def connection_timeout(self) -> int:
        return POP_SECONDS + round(TIMEOUT_SECONDS)

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[RqJob, Queue]:
        """The next attempt, once the horse is ready for it. Raises StopRequested on shutdown, RedisError."""
        self.set_state(WorkerStatus.IDLE)
        while True:
            self.get_horse_ready()
            self.announce(WorkerState.READY)
            self.heartbeat()
            popped = self.next_waiting() if len(self.queues) > 1 else None
            if popped is None:
                popped = self.pop(self.queues[0], POP_SECONDS if len(self.queues) == 1 else GLANCE_SECONDS)
            self.queues.append(self.queues.pop(0))
            if popped is not None:
                return popped

    def execute_job(self, job: RqJob, queue: Queue) -> None:
        try:
            claimed = self.claim(job, queue)
        except AttemptRefused as refusal:
            log.error("refused: %s", refusal)
            self.attempts.drop(job.id, queue.name)
            return
        if not claimed:
            log.info("%s is not to be run (any more)", job.id)
            return
        self.run_attempts(claimed)

    def teardown(self) -> None:
        self.register_death()  # type: ignore[no-untyped-call]  # rq is typed in part

    # Parts.

    def next_waiting(self) -> tuple[RqJob, Queue] | None:
        """An attempt that waits already: the most urgent first, else the models take turns."""
        by_name = {queue.name: queue for queue in self.queues}
        for name in self.attempts.by_urgency(list(by_name)):
            popped = self.pop(by_name[name], None)
            if popped is not None:
                self.queues.remove(popped[1])
                self.queues.insert(0, popped[1])  # from where it goes to the end
                return popped
        return None

    def pop(self, queue: Queue, seconds: float | None) -> tuple[RqJob, Queue] | None:
        """What one queue gives within so long. One queue at a time: only so does RQ move a name, and not lose it."""
        try:
            return self.queue_class.dequeue_any(
                [queue],
                seconds,  # type: ignore[arg-type]  # Redis takes fractions
                self.connection,
                job_class=self.job_class,
                serializer=self.serializer,
            )
        except DequeueTimeout:
            return None

    def claim(self, job: RqJob, queue: Queue) -> list[Job]:
        """The claimed job, and those that are made with it; none when it is not to be run.

        A claim whose answer was lost is repeated until a lease later. Raises AttemptRefused.
        """
        job_id, attempt = attempt_of(job)
        give_up = time.monotonic() + self.settings.lease_seconds
        while True:
            try:
                return self.attempts.claim_batch(job_id, attempt, self.name, queue.name, self.batch_size)
            except RedisUnavailable as error:
                log.warning("%s: cannot be claimed now: %s", job.id, error)
                if time.monotonic() > give_up or self.shutdown.requested:
                    return []
                self.shutdown.sleep(RECONNECT_SECONDS)

    def run_attempts(self, jobs: Sequence[Job]) -> None:
        """Runs claimed attempts to their ends and tells the record, the log, the metrics and the trace of each."""
        self.announce(WorkerState.BUSY, now=True)
        began = time.monotonic()
        with ExitStack() as spans:
            span_of = {job.id: spans.enter_context(attempt_span(job)) for job in jobs}
            watches = []
            for job in jobs:
                self.metrics.started(job)
                with bound_contextvars(**names_of(job)):
                    log.info("%s attempt %d: started%s", job.id, job.attempt, f" of {len(jobs)}" if jobs[1:] else "")
                watches.append(
                    AttemptWatch(job, self.horse, self.attempts, self.settings, self.shutdown, alone=len(jobs) == 1)
                )
            for watch, end in watch_over(watches, self.horse, self.say_busy):
                job = watch.job
                timings = end.result.timings if end.result else {}
                note_outcome(span_of[job.id], end.ending, end.error.code if end.error else None, timings)
                self.metrics.ended(job, end.ending, time.monotonic() - began, timings)
                with bound_contextvars(**names_of(job)):
                    settle(job, end, self.attempts, self.storage, self.shutdown, self.settings.drain_seconds)

    def get_horse_ready(self) -> None:
        """Returns when the horse has its models warm, however often it must be started. Raises StopRequested."""
        while not self.horse.alive:
            failure = self.start_horse()
            if failure is None:
                break
            log.error("the models cannot be loaded, next try in %g s: %s", self.load_retry_seconds, failure)
            self.horse.kill()
            retry_at = time.monotonic() + self.load_retry_seconds
            while time.monotonic() < retry_at:
                self.stop_when_asked()
                self.announce(WorkerState.FAILED, detail=failure)
                self.shutdown.sleep(min(ANNOUNCE_SECONDS, max(retry_at - time.monotonic(), 0)))
        self.stop_when_asked()

    def start_horse(self) -> str | None:
        """A horse that is ready; else why it is not. Raises StopRequested."""
        self.horse.start()
        self.metrics.horse_starts.inc()
        give_up = time.monotonic() + self.settings.load_timeout_seconds
        try:
            while time.monotonic() < give_up:
                self.stop_when_asked()
                self.announce(WorkerState.LOADING)
                match self.horse.receive(0.2):
                    case Ready() as ready:
                        log.info("%s ready on %s after %.1f s", ", ".join(ready.models), ready.device, ready.seconds)
                        facts = {"models": ready.models, "device": f"{ready.device} {ready.dtype}"}
                        self.info = self.info.model_copy(update=facts)
                        self.queues = [self.queue_of(model) for model in ready.models]
                        self.weights = dict(zip(ready.models, ready.weights, strict=True))
                        return None
                    case LoadFailed(reason):
                        return reason
        except HorseDied as death:
            return f"{death} while it loaded the models"
        return f"loading took longer than {self.settings.load_timeout_seconds:g} s"

    def queue_of(self, model: str) -> Queue:
        name = self.attempts.policy.queue_of(model)
        return Queue(name, connection=self.connection, job_class=self.job_class, serializer="json")

    @property
    def batch_size(self) -> int:
        """The most attempts to be made at once."""
        return self.settings.batch_size or (GPU_BATCH if self.info.device.startswith("cuda") else 1)

    def stop_when_asked(self) -> None:
        if self.shutdown.requested:
            self._stop_requested = True
            raise StopRequested

    def say_busy(self) -> None:
        self.announce(WorkerState.BUSY)

    def announce(self, state: WorkerState, *, detail: str = "", now: bool = False) -> None:
        """Tells that this worker lives, when its state has changed or the last time is long enough ago."""
        changed = (state, detail) != (self.info.state, self.info.detail)
        if not (now or changed or time.monotonic() - self.announced_at >= ANNOUNCE_SECONDS):
            return
        self.info = self.info.model_copy(update={"state": state, "detail": detail})
        self.announced_at = time.monotonic()
        self.metrics.is_now(state)
        self.metrics.holds(self.horse.memory)
        try:
            self.attempts.announce(self.info)
            if state is WorkerState.READY and self.weights:
                self.attempts.tell_weights(self.weights)
                self.weights = {}  # until they are loaded again
        except RedisUnavailable as error:
            log.warning("not announced: %s", error)


def names_of(job: Job) -> dict[str, str | int]:
    """What log lines about a job carry."""
    return {"job_id": job.id, "attempt": job.attempt, "request_id": job.request_id}


def rq_connection(url: str) -> redis.Redis:
    """RQ reads bytes, and sets the time-out itself (`connection_timeout`)."""
    return redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0))
