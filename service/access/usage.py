"""The ledger: what the jobs of each key have cost, by day and model. The scripts write it as they end a job."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Self, cast

from pydantic import BaseModel, Field
from redis.asyncio import Redis

from service.jobs import keys
from service.jobs.connection import redis_errors

EPOCH = date(1970, 1, 1)
LEDGER_DAYS = 400
"""How long the scripts keep a day."""


class Amounts(BaseModel):
    """Jobs that ended, by how; seconds that they had a worker; work done."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    device_seconds: float = Field(0.0, description="Of the attempts that ended their jobs, however they ended.")
    retried_seconds: float = Field(0.0, description="Of attempts that were lost or handed back, and made anew.")
    cost: float = Field(0.0, description="Megapixels denoised (width x height x frames x steps / 1e6), completed jobs.")

    @classmethod
    def total(cls, rows: Iterable["Amounts"]) -> Self:
        listed = list(rows)
        sums = {name: sum(getattr(row, name) for row in listed) for name in Amounts.model_fields}
        return cls(**{name: round(value, 3) for name, value in sums.items()})


class UsageRow(Amounts):
    """One key's use of one model on one day (UTC)."""

    day: date
    key_id: str | None = Field(description="Null for requests that needed no key.")
    model: str


FIELDS = {
    "completed": ("completed", 1.0),
    "failed": ("failed", 1.0),
    "cancelled": ("cancelled", 1.0),
    "device_ms": ("device_seconds", 1e-3),
    "retried_ms": ("retried_seconds", 1e-3),
    "cost": ("cost", 1.0),
}
"""Name in the ledger: field of `Amounts`, and factor."""


async def read_usage(redis: Redis, first: date, last: date, key_id: str | None = None) -> list[UsageRow]:
    """Rows by day, key and model, from `first` to `last`; of one key, or of all when `key_id` is None.

    Raises:
        RedisUnavailable: Redis does not answer.
    """
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipeline:
            for day in days:
                pipeline.hgetall(keys.usage((day - EPOCH).days))
            ledgers = cast(list[dict[str, str]], await pipeline.execute())
    return [
        row
        for day, ledger in zip(days, ledgers, strict=True)
        for row in rows_of(day, ledger)
        if key_id is None or row.key_id == key_id
    ]


def rows_of(day: date, ledger: dict[str, str]) -> list[UsageRow]:
    """The rows of one day; what a newer release has written beside them is left out."""
    amounts: dict[tuple[str, str], dict[str, float]] = {}
    for field, amount in ledger.items():
        account, model, what = field.split("|")
        if what in FIELDS:
            name, factor = FIELDS[what]
            amounts.setdefault((account, model), {})[name] = round(float(amount) * factor, 3)
    return [
        UsageRow(day=day, key_id=account or None, model=model, **sums)
        for (account, model), sums in sorted(amounts.items())
    ]


def today() -> date:
    return datetime.now(UTC).date()
