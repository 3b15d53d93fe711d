"""On whose account a job is taken: who owns it, what the account may still ask for, and its share of the workers.

Costs are those of `JobSpec.cost`: megapixels denoised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Priority(StrEnum):
    """All jobs of a higher priority go before those of a lower one; within one, accounts share by weight."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Quota:
    """What one account may ask for; None is no limit. A minute's requests, an hour's cost may come at once."""

    requests_per_minute: float | None = None
    cost_per_hour: float | None = None
    active_jobs: int | None = None
    """Jobs that wait or run at the same time."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks. `owner` decides whose jobs can be seen (None: everybody's), `key_id` is what is counted and charged.

    Without a `key_id` nothing is counted: all such jobs are one account without limits.
    """

    owner: str | None = None
    key_id: str = ""
    weight: float = 1.0
    quota: Quota = Quota()


EVERYBODY = Account()
"""The service itself, and clients where no keys are asked for."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of one quota is left: of `limit`, `remaining`; all of it again after `reset_seconds`."""

    name: str
    limit: float
    remaining: float
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Trace:
    """What names a request in the logs and traces of the worker that runs its job."""

    request_id: str = ""
    traceparent: str = ""
    """W3C Trace Context, version 00; empty when nothing is traced."""


class QuotaExceeded(Exception):
    """The account has used up one of its limits (`requests`, `cost` or `jobs`).

    `retry_seconds` is when the same request would pass; None when that depends on its jobs.
    """

    def __init__(self, name: str, retry_seconds: float | None, limits: Sequence[Limit]) -> None:
        super().__init__(f"the quota of {name} is used up")
        self.name = name
        self.retry_seconds = retry_seconds
        self.limits = tuple(limits)
