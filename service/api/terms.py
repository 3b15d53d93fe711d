"""The headers of a request for a video: once only, waited for, given up in time."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from service.access.gate import principal_of
from service.access.scopes import Scope
from service.api.errors import ApiError
from service.api.idempotency import scoped_key
from service.api.openai_route import CLIENT, is_openai_client
from service.jobs.record import Repeat

LONGEST_WAIT_SECONDS = 60
SHORTEST_LIFE_SECONDS, LONGEST_LIFE_SECONDS = 1, 86_400
WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.ASCII | re.IGNORECASE)
DURATION = re.compile(r"(?=\d)(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s?)?", re.ASCII)
SOME_DURATIONS = "^([1-9][0-9]{0,3}s?|[1-9][0-9]{0,2}m|([1-9]|1[0-9]|2[0-3])h([1-5]?[0-9]m)?)$"
"""Those within the limits that one pattern can tell."""


def header(name: str, description: str, **schema: str) -> dict[str, Any]:
    return {"in": "header", "name": name, "description": description, "schema": {"type": "string", **schema}}


TERMS = {
    "parameters": [
        header(
            "prefer",
            "`wait=N`: answer when the job has ended, or after N seconds, "
            f"{LONGEST_WAIT_SECONDS} at most; then 202 as ever.",
        ),
        header(
            "cancel-after",
            "Cancel the job when it has not ended by then: seconds, or such as `90s`, `5m`, `1h30m`; "
            f"{LONGEST_LIFE_SECONDS // 3600} hours at most.",
            pattern=SOME_DURATIONS,
        ),
    ]
}
"""`openapi_extra` of a route that reads them. The third, `Idempotency-Key`, is not among them: a schema cannot say that
each request needs a new one; the description of the whole interface does.
"""


@dataclass(frozen=True)
class Terms:
    """`key` is that of the request within its route; `repeat` stands in for it where OpenAI's clients send none;
    `may_hurry`: whether the request may ask for a high priority; `openai`: whether it comes from one of these clients.
    """

    key: str | None
    repeat: Repeat | None
    wait_seconds: int
    cancel_after_seconds: int | None
    may_hurry: bool
    openai: bool


async def terms_of(request: Request) -> Terms:
    """What the headers say. Raises ApiError (`invalid_header`)."""
    headers = request.headers
    cancel_after = headers.get("cancel-after")
    key = scoped_key(headers.get("idempotency-key"), request.scope["route"].path.removeprefix("/v1/"))
    return Terms(
        key=key,
        repeat=repeat_of(request) if key is None else None,
        wait_seconds=wait_of(headers.get("prefer")),
        cancel_after_seconds=None if cancel_after is None else lifetime_of(cancel_after),
        may_hurry=principal_of(request.scope).allows(Scope.PRIORITY),
        openai=is_openai_client(request),
    )


Agreed = Annotated[Terms, Depends(terms_of)]


def repeat_of(request: Request) -> Repeat | None:
    """How OpenAI's clients say that they send a request again by themselves: they send no key with it, and count."""
    headers = request.headers
    count = headers.get("x-stainless-retry-count", "0" if CLIENT in headers else "")
    if not count:
        return None
    who = principal_of(request.scope).account.key_id or (request.client.host if request.client else "")
    return Repeat(f"{request.url.path} {who}", again=count.isdecimal() and count.strip("0") != "")


def wait_of(prefer: str | None) -> int:
    """Seconds of `Prefer: wait=N` (RFC 7240); 0 for all other preferences, which may be ignored."""
    match = WAIT.search(prefer or "")
    return min(int(match[1]), LONGEST_WAIT_SECONDS) if match else 0


def lifetime_of(cancel_after: str) -> int:
    """Seconds of `Cancel-After`. Raises ApiError."""
    match = DURATION.fullmatch(cancel_after.strip())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not SHORTEST_LIFE_SECONDS <= total <= LONGEST_LIFE_SECONDS:
        limits = f"from {SHORTEST_LIFE_SECONDS} s to {LONGEST_LIFE_SECONDS // 3600} h"
        raise ApiError("invalid_header", f"Cancel-After must be {limits}, such as 90s or 5m", param="Cancel-After")
    return total
