"""`GET /v1/usage`: what jobs have cost, by day, key and model."""

from datetime import date, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from service.access.gate import Principal, principal_of
from service.access.scopes import Scope
from service.access.usage import LEDGER_DAYS, Amounts, UsageRow, read_usage, today
from service.api.errors import ApiError
from service.api.openapi import REQUEST_ID, problems
from service.api.resources import Held, in_time

router = APIRouter(tags=["usage"])

DEFAULT_DAYS = 30


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
    responses={200: {"headers": REQUEST_ID}, **problems("invalid_field", "redis_unavailable")},
)
async def get_usage(
    held: Held,
    who: Annotated[Principal, Depends(principal)],
    start: Annotated[date | None, Query(description="First day (UTC); 30 days before `end` if left out.")] = None,
    end: Annotated[date | None, Query(description="Last day, today if left out.")] = None,
    key_id: Annotated[
        str | None, Query(max_length=64, description="One key; only keys with the scope `admin` may name another's.")
    ] = None,
) -> Usage:
    """Seconds of device time and numbers of jobs, of the key that asks; of all keys where it has the scope `admin`."""
    last = end or today()
    first = start or last - timedelta(days=min(DEFAULT_DAYS, (last - date.min).days))
    if not 0 <= (last - first).days < LEDGER_DAYS:
        raise ApiError("invalid_field", f"start must be up to {LEDGER_DAYS - 1} days before end", param="start")
    if not who.allows(Scope.ADMIN):
        if key_id not in (None, who.account.key_id):
            raise ApiError("invalid_field", "key_id may only name another key with the scope admin", param="key_id")
        key_id = who.account.key_id
    rows = await in_time(read_usage(held.records.redis, first, last, key_id))
    return Usage(start=first, end=last, data=rows, total=Amounts.total(rows))
