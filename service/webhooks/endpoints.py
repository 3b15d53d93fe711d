"""Who wants to be told: one hash in Redis for each endpoint."""

import base64
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from service.jobs import keys
from service.jobs.connection import redis_errors

ENDPOINT_ID = re.compile(r"we_[a-z2-7]{26}")
MAX_ENDPOINTS = 100
"""Of one owner."""
OLD_SECRET_SECONDS = 86_400


class TooManyEndpoints(Exception):
    """The owner has MAX_ENDPOINTS."""


def new_secret() -> str:
    """As Standard Webhooks has it; 24 bytes need no padding in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


class Endpoint(BaseModel):
    """Times are unix seconds. `old_secret` signs too, until `old_secret_until`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: int
    updated_at: int
    secret: str
    old_secret: str = ""
    old_secret_until: int = 0
    owner: str = ""

    def secrets_at(self, now: float) -> tuple[str, ...]:
        return (self.secret, self.old_secret) if self.old_secret and now < self.old_secret_until else (self.secret,)

    @property
    def hash(self) -> dict[Any, Any]:
        return {**dict(self), "event_types": json.dumps(self.event_types)}

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Self:
        return cls.model_validate({**fields, "event_types": json.loads(fields["event_types"])})


class Endpoints:
    """The endpoints of one owner, of all when `owner` is None. Every method raises RedisUnavailable."""

    def __init__(self, redis: Redis, owner: str | None) -> None:
        self.redis = redis
        self.owner = owner

    async def create(self, *, name: str, url: str, event_types: Sequence[str]) -> Endpoint:
        """Raises TooManyEndpoints."""
        if len(await self.all()) >= MAX_ENDPOINTS:
            raise TooManyEndpoints
        now = await self.now()
        endpoint = Endpoint(
            id="we_" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower(),
            name=name,
            url=url,
            event_types=tuple(event_types),
            created_at=now,
            updated_at=now,
            secret=new_secret(),
            owner=self.owner or "",
        )
        await self.write(endpoint)
        return endpoint

    async def get(self, endpoint_id: str) -> Endpoint | None:
        if ENDPOINT_ID.fullmatch(endpoint_id) is None:
            return None
        with redis_errors():
            fields = cast(Mapping[str, str], await self.redis.hgetall(keys.webhook(endpoint_id)))
        return self.visible(fields)

    async def change(self, endpoint: Endpoint, **changes: object) -> Endpoint:
        changed = endpoint.model_copy(update=changes)
        if changed != endpoint:
            changed = changed.model_copy(update={"updated_at": await self.now()})
            await self.write(changed)
        return changed

    async def rotate(self, endpoint: Endpoint, *, keep_old: bool) -> Endpoint:
        """The endpoint with a new secret; the old one goes on signing for a day when it is kept."""
        until = await self.now() + OLD_SECRET_SECONDS if keep_old else 0
        old = endpoint.secret if keep_old else ""
        return await self.change(endpoint, secret=new_secret(), old_secret=old, old_secret_until=until)

    async def delete(self, endpoint: Endpoint) -> None:
        with redis_errors():
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(keys.webhook(endpoint.id))
                pipeline.zrem(keys.WEBHOOKS, endpoint.id)
                await pipeline.execute()

    async def all(self) -> Sequence[Endpoint]:
        """All of them, the oldest first."""
        with redis_errors():
            ids = cast(Sequence[str], await self.redis.zrange(keys.WEBHOOKS, 0, -1))
            async with self.redis.pipeline(transaction=False) as pipeline:
                for endpoint_id in ids:
                    pipeline.hgetall(keys.webhook(endpoint_id))
                rows = await pipeline.execute()
        return [endpoint for fields in rows if (endpoint := self.visible(fields)) is not None]

    async def write(self, endpoint: Endpoint) -> None:
        with redis_errors():
            seconds, microseconds = await self.redis.time()
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(keys.webhook(endpoint.id), mapping=endpoint.hash)
                pipeline.zadd(keys.WEBHOOKS, {endpoint.id: seconds * 1_000_000 + microseconds}, nx=True)
                await pipeline.execute()

    async def now(self) -> int:
        with redis_errors():
            return int((await self.redis.time())[0])

    def visible(self, fields: Mapping[str, str]) -> Endpoint | None:
        if not fields or self.owner not in (None, fields.get("owner", "")):
            return None
        return Endpoint.of(fields)
