"""The numbers that rule a queue: bounds, leases, retries, retention."""

from dataclasses import dataclass
from typing import Self

from service.jobs.keys import queue_of_model
from service.settings import Settings

WORKER_TTL_SECONDS = 10.0
"""A worker that has not been heard of for so long is no longer counted."""

REDISPATCH_GRACE_SECONDS = 5.0
"""How long RQ may hold a job between pop and claim before it is dispatched anew."""


@dataclass(frozen=True)
class JobPolicy:
    queue_name: str = "lumiere"
    max_queued_jobs: int = 1000
    max_attempts: int = 3
    lease_seconds: float = 15.0
    retention_seconds: int = 86_400
    backoff_seconds: tuple[float, ...] = (1.0, 5.0, 25.0)
    reap_interval_seconds: float = 1.0
    redispatch_grace_seconds: float = REDISPATCH_GRACE_SECONDS

    def queue_of(self, model: str) -> str:
        """The name of the queue in which jobs for this model wait."""
        return queue_of_model(self.queue_name, model)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            queue_name=settings.queue_name,
            max_queued_jobs=settings.max_queued_jobs,
            max_attempts=settings.max_attempts,
            lease_seconds=settings.lease_seconds,
            retention_seconds=settings.retention_seconds,
        )
