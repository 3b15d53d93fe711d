"""`GET /v1/usage`: what jobs have cost, by day, key and model."""

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, BeforeValidator

from service.access.gate import Principal, principal_of
from service.access.scopes import Scope
from service.access.usage import LEDGER_DAYS, Amounts, UsageRow, read_usage, today
from service.api.errors import ApiError
from service.api.openapi import REQUEST_ID, problems
from service.api.resources import Held, in_time

router = APIRouter(tags=["usage"])

DEFAULT_DAYS = 30
WRITTEN_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def written_out(day: Any) -> date:
    """`YYYY-MM-DD`, and not the numbers that pydantic would take for seconds since 1970."""
    if WRITTEN_DAY.fullmatch(day) is None:
        raise ValueError("must be a day such as 2026-01-31")
    return date.fromisoformat(day)


Day = Annotated[date, BeforeValidator(written_out)]


class Usage(BaseModel):
    """The rows that there are, oldest day first, and their sum."""

    object: Literal["usage"] = "usage"
    start: date
    end: date
    data: list[UsageRow]
    total: Amounts


async def principal(request: Request) -> Principal:  # async: FastAPI sends plain functions to a thread
    return principal_of(request.scope)


@router.get(
    "/v1/usage",
    summary="What jobs have cost",
    responses={
        200: {"headers": REQUEST_ID},
        **problems("invalid_field", "missing_scope", "fields_conflict", "redis_unavailable"),
    },
)
async def get_usage(
    held: Held,
    who: Annotated[Principal, Depends(principal)],
    start: Annotated[
        Day | None,
        Query(
            description=f"First day (UTC); {DEFAULT_DAYS} days before `end` if left out. "
            f"The ledger has {LEDGER_DAYS} days, so that a row is never more than {LEDGER_DAYS - 1} days before `end`."
        ),
    ] = None,
    end: Annotated[Day | None, Query(description="Last day, today if left out.")] = None,
    key_id: Annotated[
        str | None, Query(max_length=64, description="One key; only keys with the scope `admin` may name another's.")
    ] = None,
) -> Usage:
    """Seconds of device time and numbers of jobs, of the key that asks; of all keys where it has the scope `admin`."""
    last = end or today()
    first = max(start or days_before(last, DEFAULT_DAYS), days_before(last, LEDGER_DAYS - 1))
    if first > last:
        raise ApiError("fields_conflict", "start must not be after end", param="start")
    if not who.allows(Scope.ADMIN):
        if key_id not in (None, who.account.key_id):
            raise ApiError("missing_scope", "only a key with the scope admin may name another key", param="key_id")
        key_id = who.account.key_id
    rows = await in_time(read_usage(held.records.redis, first, last, key_id))
    return Usage(start=first, end=last, data=rows, total=Amounts.total(rows))


def days_before(day: date, days: int) -> date:
    return day - timedelta(days=min(days, (day - date.min).days))
