"""Lets a request in or refuses it by its API key, before anything of its body is read."""

import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.keys import ApiKeys, KeyRecord
from service.access.links import SIGNATURE, Links, is_signed
from service.access.scopes import READS, allows, needed_scope
from service.access.scopes import Scope as KeyScope
from service.api.errors import ApiError, problem, translate
from service.api.request_id import request_id_of
from service.jobs.admission import EVERYBODY, Account, Limit, Quota
from service.jobs.connection import RedisUnavailable
from service.settings import Settings, is_loopback

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, and what it may do."""

    account: Account
    scopes: tuple[KeyScope, ...]

    def allows(self, scope: KeyScope) -> bool:
        return allows(self.scopes, scope)


ANYBODY = Principal(EVERYBODY, (KeyScope.ADMIN,))
"""Every client of a gateway that asks for no keys: whoever reaches it is its operator."""


LINK_HOLDER = Principal(EVERYBODY, ())
"""Whoever has a signed link: it opens the one path that it was made for, whosever that is."""


def principal_of_key(record: KeyRecord, settings: Settings) -> Principal:
    """Keys with the scope `admin` act for the operator: they see the objects of all owners."""
    account = Account(
        owner=None if KeyScope.ADMIN in record.scopes else record.owner,
        key_id=record.id,
        weight=record.weight,
        quota=Quota(
            requests_per_minute=limit(record.requests_per_minute, settings.key_requests_per_minute),
            cost_per_hour=limit(record.cost_per_hour, settings.key_cost_per_hour),
            active_jobs=limit(record.active_jobs, settings.key_active_jobs),
        ),
    )
    return Principal(account, record.scopes)


def limit(own: Number | None, default: Number | None) -> Number | None:
    """The key's own limit, else the default one; 0 is none."""
    return (default if own is None else own) or None


def principal_of(scope: Scope) -> Principal:
    """Who makes the request that passed the gate."""
    principal: Principal = scope["state"]["principal"]
    return principal


def tell_limits(scope: Scope, limits: Sequence[Limit]) -> None:
    """Has the response say what is left of the quotas."""
    scope["state"]["limits"] = tuple(limits)


class Gate:
    """ASGI middleware inside `AccessLog`. `app.state.resources` must hold the keys."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.keys_required = settings.keys_required
        self.on_loopback = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        try:
            state["principal"] = await self.admit(scope)
        except (ApiError, RedisUnavailable) as refusal:
            response = problem(request_id_of(scope), translate(refusal))
            if has_body(scope):
                response.headers["Connection"] = "close"  # else the server reads, and drops, all of it
            await response(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start" and "limits" in state:
                add_limits(MutableHeaders(scope=message), state["limits"])
            await send(message)

        await self.app(scope, receive, send_with_limits)

    async def admit(self, scope: Scope) -> Principal:
        """Who asks. Raises ApiError (`invalid_api_key`, `missing_scope`, `invalid_link`) and RedisUnavailable."""
        if not self.keys_required:
            if self.on_loopback:
                refuse_other_hosts(scope, self.settings.allowed_hosts)
            refuse_other_sites(scope)
            return ANYBODY
        query = scope["query_string"].decode("latin-1")
        if is_signed(query) and scope["method"] in READS:
            links: Links = scope["app"].state.resources.links
            if not await links.opens(scope["path"], query):
                raise ApiError("invalid_link", "ask for a new link", param=SIGNATURE)
            return LINK_HOLDER
        needed = needed_scope(scope["method"], scope["path"])
        token = bearer_token(Headers(scope=scope).get("authorization", ""))
        if needed is None:
            return Principal(Account(owner=""), ())
        keys: ApiKeys = scope["app"].state.resources.keys
        record = await keys.find(token)
        if record is None:
            raise ApiError(
                "invalid_api_key",
                "send a key of this service: Authorization: Bearer lum_…",
                param="Authorization",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not allows(record.scopes, needed):
            raise ApiError("missing_scope", f"the API key lacks the scope {needed}", param="Authorization")
        return principal_of_key(record, self.settings)


def refuse_other_hosts(scope: Scope, allowed: Sequence[str]) -> None:
    """A page of another site may have its own name lead to this machine (DNS rebinding), and is then no other site.

    Raises:
        ApiError: `unknown_host`: the request is for a name, and for none of this gateway.
    """
    if not is_ours(Headers(scope=scope).get("host", ""), tuple(allowed)):
        detail = "this gateway answers under its address and localhost; LUMIERE_ALLOWED_HOSTS adds names"
        raise ApiError("unknown_host", detail, param="Host")


@lru_cache(maxsize=256)
def is_ours(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a `Host` header is an address, `localhost`, or one of the names that are allowed."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = host
    return is_address(name) or name in ("", "localhost", *allowed) or name.endswith(".localhost")


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refuse_other_sites(scope: Scope) -> None:
    """Without keys, a page of any site that a user of this machine opens could ask for jobs in the user's name.

    Raises:
        ApiError: `invalid_header`: a browser says that the request, one that changes something, comes from such a page.
    """
    if scope["method"] in READS:
        return
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        raise ApiError("invalid_header", "without API keys, pages of other sites are refused", param="Origin")


def bearer_token(header: str) -> str:
    """The token of `Authorization: Bearer TOKEN`; empty for anything else."""
    kind, _, token = header.strip().partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def add_limits(headers: MutableHeaders, limits: Sequence[Limit]) -> None:
    """`x-ratelimit-*`, as OpenAI's services name them: of `requests`, `cost` and `jobs`."""
    for held in limits:
        remaining = f"{held.remaining:.6g}" if held.name == "cost" else str(math.floor(held.remaining))
        headers[f"x-ratelimit-limit-{held.name}"] = f"{held.limit:g}"
        headers[f"x-ratelimit-remaining-{held.name}"] = remaining
        if held.name != "jobs":
            headers[f"x-ratelimit-reset-{held.name}"] = f"{held.reset_seconds:.3f}s"
