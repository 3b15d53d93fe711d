"""Attempts from the supervisor's side: order them, beat while they run, stop one when it must stop, settle its end."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from service.jobs.attempts import Attempts, Progress, Verdict
from service.jobs.connection import RedisUnavailable
from service.jobs.contract import ErrorCode, Job, JobError, JobResult
from service.settings import Settings
from service.storage import Storage, StorageError, output_key
from workers.messages import About, Done, Failed, Order, Outcome, Run, Stepped, Stop, Stopped
from workers.progress import ProgressMeter
from workers.shutdown import Shutdown
from workers.stable import Horse, HorseDied

log = logging.getLogger(__name__)

RECEIVE_SECONDS = 0.05
BEAT_SECONDS = 0.2
"""Between two beats when no step is reported: this is how fast a cancel is noticed."""
BUSY_BEAT_SECONDS = 0.05
"""The shortest time between two beats when steps come fast."""
PATIENT_BEAT_SECONDS = 0.5
"""Between two tries to reach a Redis that is away."""


class Reason(StrEnum):
    """Why an attempt is asked to stop."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    STALLED = "stalled"
    LOST = "lost"
    DRAINED = "drained"


class Ending(StrEnum):
    """What the record is told."""

    COMPLETE = "complete"
    FAIL = "fail"
    RETRY = "retry"
    CONFIRM_CANCEL = "confirm cancel"
    RELEASE = "release"
    NOTHING = "nothing"


@dataclass(frozen=True)
class End:
    ending: Ending
    result: JobResult | None = None
    error: JobError | None = None


def end_with_error(ending: Ending, code: ErrorCode, message: str, *, retryable: bool = False) -> End:
    return End(ending, error=JobError(code=code, message=message, retryable=retryable))


class KilledForOne(HorseDied):
    """The work-horse was killed because one attempt did not stop; the others of its batch are not to blame."""


class AttemptWatch:
    """Watches over one attempt on the horse. alone: whether it is no batch of several."""

    def __init__(
        self,
        job: Job,
        horse: Horse,
        attempts: Attempts,
        settings: Settings,
        shutdown: Shutdown,
        *,
        alone: bool,
    ) -> None:
        self.job = job
        self.order = Order(job.id, job.attempt, job.spec)
        self.horse = horse
        self.attempts = attempts
        self.settings = settings
        self.shutdown = shutdown
        self.alone = alone
        self.meter = ProgressMeter()
        self.progress: Progress | None = None
        self.started = self.last_sign = time.monotonic()
        self.next_beat = self.last_beat = self.started
        self.reason: Reason | None = None
        self.kill_at = float("inf")

    def hear(self, message: Stepped | Outcome) -> End | None:
        """Takes in what the horse says; the attempt's end when that is what it says."""
        match message:
            case Stepped():
                untold = self.progress
                fresh = self.meter.read(message)
                if untold is not None:
                    fresh = replace(fresh, tell=fresh.tell or untold.tell, preview=fresh.preview or untold.preview)
                self.progress = fresh
                self.next_beat = min(self.next_beat, self.last_beat + BUSY_BEAT_SECONDS)
            case Done(result):
                return End(Ending.COMPLETE, result=result)
            case Stopped():
                return self.end_without_answer("the attempt was stopped")
            case Failed(code, text, retry):
                ending = Ending.RETRY if retry else Ending.FAIL
                return end_with_error(ending, code, text, retryable=retry)
        return None

    def check_limits(self) -> None:
        """Asks the horse to stop when it must, and kills it when it does not. Raises HorseDied then."""
        now = time.monotonic()
        if self.shutdown.forced:
            self.stop(Reason.DRAINED, grace=0)
        elif self.shutdown.patience_spent(self.settings.drain_seconds):
            self.stop(Reason.DRAINED)
        elif now - self.started > self.settings.job_timeout_seconds:
            self.stop(Reason.TIMED_OUT)
        elif now - self.last_sign > self.settings.stall_seconds:
            self.stop(Reason.STALLED, grace=0)
        if now >= self.kill_at:
            self.horse.kill()
            died = KilledForOne if self.reason in (Reason.CANCELLED, Reason.LOST, Reason.DRAINED) else HorseDied
            raise died("the work-horse did not stop in time and was killed")

    def stop(self, reason: Reason, grace: float | None = None) -> None:
        kill_at = time.monotonic() + (self.settings.cancel_grace_seconds if grace is None else grace)
        self.kill_at = min(self.kill_at, kill_at)
        if self.reason is None:
            self.reason = reason
            log.info("%s attempt %d: stopping, %s", self.job.id, self.job.attempt, reason)
            self.horse.send(Stop(self.order.name))

    def beat_when_due(self) -> None:
        now = time.monotonic()
        if now < self.next_beat or self.reason is Reason.LOST:
            return
        progress, self.progress = self.progress, None
        try:
            verdict = self.attempts.beat(self.job, progress)
        except RedisUnavailable as error:
            log.warning("%s: beat not heard: %s", self.job.id, error)
            self.progress = progress
            self.next_beat = time.monotonic() + PATIENT_BEAT_SECONDS
            return
        self.last_beat = now
        self.next_beat = now + BEAT_SECONDS
        if verdict is Verdict.CANCEL:
            self.stop(Reason.CANCELLED)
        elif verdict is Verdict.LOST:
            self.stop(Reason.LOST)

    def end_by_death(self, death: HorseDied) -> End:
        if isinstance(death, KilledForOne) and self.reason is None:
            return End(Ending.RELEASE)
        return self.end_without_answer(str(death))

    def end_without_answer(self, death: str) -> End:
        """How an attempt ends that made no video: by the reason it was stopped for, else the horse crashed."""
        match self.reason:
            case Reason.CANCELLED:
                return end_with_error(Ending.CONFIRM_CANCEL, ErrorCode.CANCELLED, "the job was cancelled")
            case Reason.TIMED_OUT if not self.alone:
                death = f"a batch took longer than {self.settings.job_timeout_seconds:g} s"
            case Reason.TIMED_OUT:
                limit = self.settings.job_timeout_seconds
                return end_with_error(Ending.FAIL, ErrorCode.TIMED_OUT, f"the job took longer than {limit:g} s")
            case Reason.DRAINED:
                return End(Ending.RELEASE)
            case Reason.LOST:
                return End(Ending.NOTHING)
            case Reason.STALLED:
                limit = self.settings.stall_seconds
                death = f"no step was finished for {limit:g} s"
        return end_with_error(Ending.RETRY, ErrorCode.WORKER_CRASHED, death, retryable=True)


def watch_over(
    watches: Sequence[AttemptWatch], horse: Horse, on_tick: Callable[[], None] = lambda: None
) -> Iterator[tuple[AttemptWatch, End]]:
    """Runs attempts, several as one batch, until each has ended one way or the other, and gives each end as it comes.

    The horse may be dead after this. on_tick: called a few times per second.
    """
    running = {watch.order.name: watch for watch in watches}
    broken = False
    try:
        horse.send(Run(tuple(watch.order for watch in watches)))
        while running:
            message = horse.receive(RECEIVE_SECONDS)
            if isinstance(message, About) and message.name in running:
                for each in running.values():  # they wait for each other
                    each.last_sign = time.monotonic()
                watch = running[message.name]
                end = watch.hear(message.said)
                broken = broken or (isinstance(message.said, Failed) and message.said.broken)
                if end is not None:
                    del running[message.name]
                    yield watch, end
            for watch in running.values():
                watch.check_limits()
                watch.beat_when_due()
            on_tick()
    except HorseDied as death:
        for watch in running.values():
            yield watch, watch.end_by_death(death)
    if broken:
        horse.bury()


def settle(job: Job, end: End, attempts: Attempts, storage: Storage, shutdown: Shutdown, drain_seconds: float) -> None:
    """Tells the record how the attempt ended, again and again until Redis answers.

    A stopping worker gives up once its patience is spent: the lease will then expire and the job be run again.
    """
    while True:
        try:
            accepted = tell(job, end, attempts)
        except RedisUnavailable as error:
            log.warning("%s attempt %d: cannot settle %s: %s", job.id, job.attempt, end.ending, error)
            if shutdown.patience_spent(drain_seconds):
                return
            time.sleep(PATIENT_BEAT_SECONDS)
            continue
        log.info("%s attempt %d: %s%s", job.id, job.attempt, end.ending, "" if accepted else ", but it was lost")
        break
    if not accepted or end.ending is Ending.NOTHING:
        remove_output(job, attempts, storage)


def remove_output(job: Job, attempts: Attempts, storage: Storage) -> None:
    """Deletes what a lost attempt has stored, unless another one may have its number: a Redis that was killed can come
    back without its last second, and then gives it again. The sweeper deletes what is left.
    """
    try:
        if attempts.superseded(job):
            storage.remove(output_key(job.spec.task, job.id, job.attempt))
    except (RedisUnavailable, StorageError) as error:
        log.warning("%s attempt %d: its video stays behind: %s", job.id, job.attempt, error)


def tell(job: Job, end: End, attempts: Attempts) -> bool:
    """Whether the record accepts the end, or had accepted it before."""
    match end:
        case End(Ending.COMPLETE, result=JobResult() as result):
            return attempts.complete(job, result)
        case End(Ending.FAIL, error=JobError() as error):
            return attempts.fail(job, error)
        case End(Ending.RETRY, error=JobError() as error):
            return attempts.retry(job, error)
        case End(Ending.CONFIRM_CANCEL, error=JobError() as error):
            return attempts.confirm_cancel(job, error)
        case End(Ending.RELEASE):
            return attempts.release(job)
    return True
