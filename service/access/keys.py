"""API keys: `lum_<key id>_<secret>`. Redis holds the SHA-256 of the secret alone, under the key's id.

The secret has 256 random bits, so that a fast hash is enough; it is shown once, when it is made.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import cast

from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis

from service.access.scopes import DEFAULT_SCOPES, Scope
from service.jobs import keys
from service.jobs.connection import redis_errors

TOKEN = re.compile(r"lum_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
KEY_ID = re.compile(r"[a-z2-7]{12}")
SECRET_BYTES = 32
CACHE_SECONDS = 1.0
"""The longest that a revoked key may still be taken."""
CACHE_SIZE = 4096
STAMP_SECONDS = 60.0
"""How exactly it is known when a key was last used."""
NO_HASH = "0" * 64


class KeyRecord(BaseModel):
    """What is known of a key. Times are unix seconds. Limits that are None are those of the settings, 0 is no limit."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    name: str = ""
    owner: str
    scopes: tuple[Scope, ...]
    secret_hash: str = Field(repr=False)
    previous_hash: str = Field("", repr=False)
    previous_until: float = 0.0
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    weight: float = Field(1.0, gt=0, le=1000)
    requests_per_minute: float | None = Field(None, ge=0)
    cost_per_hour: float | None = Field(None, ge=0)
    active_jobs: int | None = Field(None, ge=0)

    def usable(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def takes(self, digest: str, now: float) -> bool:
        """Whether the hash is that of the secret, or of the one before it while that is still taken."""
        current = hmac.compare_digest(digest, self.secret_hash)
        previous = hmac.compare_digest(digest, self.previous_hash or NO_HASH) and now < self.previous_until
        return current or previous


class NoSuchKey(LookupError):
    """There is no key with this id."""


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def token_of(key_id: str, secret: str) -> str:
    return f"lum_{key_id}_{secret}"


class ApiKeys:
    """All keys. Every method raises RedisUnavailable when Redis does not answer.

    `find` remembers what it has read for CACHE_SECONDS, so that accepting a job costs one round trip as without keys.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self.redis = redis
        self.clock = clock
        self.cache: dict[str, tuple[KeyRecord, float]] = {}
        self.stamped: dict[str, float] = {}

    async def create(
        self,
        *,
        name: str = "",
        owner: str | None = None,
        scopes: Iterable[Scope] = DEFAULT_SCOPES,
        lifetime_seconds: float | None = None,
        weight: float = 1.0,
        requests_per_minute: float | None = None,
        cost_per_hour: float | None = None,
        active_jobs: int | None = None,
    ) -> tuple[KeyRecord, str]:
        """A new key and its token. `owner`: whose objects it sees and makes; an owner of its own when not given.

        Raises:
            pydantic.ValidationError: a limit is out of range.
        """
        key_id = base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now = self.clock()
        record = KeyRecord(
            id=key_id,
            name=name,
            owner=owner or key_id,
            scopes=tuple(dict.fromkeys(scopes)),
            secret_hash=hash_of(secret),
            created_at=now,
            expires_at=None if lifetime_seconds is None else now + lifetime_seconds,
            weight=weight,
            requests_per_minute=requests_per_minute,
            cost_per_hour=cost_per_hour,
            active_jobs=active_jobs,
        )
        with redis_errors():
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.set(keys.api_key(key_id), record.model_dump_json())
                pipeline.zadd(keys.API_KEYS, {key_id: now})
                await pipeline.execute()
        return record, token_of(key_id, secret)

    async def find(self, token: str) -> KeyRecord | None:
        """The key of a token, when it is to be taken: known, right, neither expired nor revoked."""
        parts = TOKEN.fullmatch(token)
        if parts is None:
            return None
        key_id, secret = parts.groups()
        record = await self.cached(key_id)
        now = self.clock()
        if record is None:
            hmac.compare_digest(hash_of(secret), NO_HASH)  # as much work as for a known key
            return None
        if not (record.takes(hash_of(secret), now) and record.usable(now)):
            return None
        await self.stamp(key_id, now)
        return record

    async def cached(self, key_id: str) -> KeyRecord | None:
        known = self.cache.get(key_id)
        now = time.monotonic()
        if known is not None and now < known[1]:
            return known[0]
        record = await self.get(key_id)
        if record is None:
            self.cache.pop(key_id, None)
            return None
        if len(self.cache) >= CACHE_SIZE:
            self.cache.clear()
        self.cache[key_id] = (record, now + CACHE_SECONDS)
        return record

    async def stamp(self, key_id: str, now: float) -> None:
        if now - self.stamped.get(key_id, 0) < STAMP_SECONDS:
            return
        if len(self.stamped) >= CACHE_SIZE:
            self.stamped.clear()
        self.stamped[key_id] = now
        with redis_errors():
            await self.redis.zadd(keys.API_KEYS_USED, {key_id: now})

    async def get(self, key_id: str) -> KeyRecord | None:
        """The key with this id, usable or not."""
        if KEY_ID.fullmatch(key_id) is None:
            return None
        with redis_errors():
            text = cast(str | None, await self.redis.get(keys.api_key(key_id)))
        return None if text is None else KeyRecord.model_validate_json(text)

    async def list(self) -> list[tuple[KeyRecord, float | None]]:
        """All keys with the time when they were last used, oldest first."""
        with redis_errors():
            ids = cast(list[str], await self.redis.zrange(keys.API_KEYS, 0, -1))
            if not ids:
                return []
            texts = cast(list[str | None], await self.redis.mget([keys.api_key(key_id) for key_id in ids]))
            used = await self.redis.zmscore(keys.API_KEYS_USED, ids)
        return [
            (KeyRecord.model_validate_json(text), at) for text, at in zip(texts, used, strict=True) if text is not None
        ]

    async def revoke(self, key_id: str) -> KeyRecord:
        """Ends a key for good; its record stays, for the ledger. Raises NoSuchKey."""
        record = await self.existing(key_id)
        if record.revoked_at is None:
            record = await self.replace(record.model_copy(update={"revoked_at": self.clock()}))
        return record

    async def rotate(self, key_id: str, overlap_seconds: float = 0.0) -> tuple[KeyRecord, str]:
        """A new secret for a key, and the new token; the old one is taken for `overlap_seconds` more.

        Raises:
            NoSuchKey: there is none with this id.
        """
        record = await self.existing(key_id)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        changes = {
            "secret_hash": hash_of(secret),
            "previous_hash": record.secret_hash if overlap_seconds > 0 else "",
            "previous_until": self.clock() + overlap_seconds,
        }
        return await self.replace(record.model_copy(update=changes)), token_of(key_id, secret)

    async def existing(self, key_id: str) -> KeyRecord:
        record = await self.get(key_id)
        if record is None:
            raise NoSuchKey(key_id)
        return record

    async def replace(self, record: KeyRecord) -> KeyRecord:
        with redis_errors():
            await self.redis.set(keys.api_key(record.id), record.model_dump_json())
        self.cache.pop(record.id, None)
        return record
