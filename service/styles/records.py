"""What is known of styles that were learned from a picture: one hash in Redis for each, beside its weights in the
storage.

A style is made by a job. While that runs, or when it has failed, its state is the job's; once it has completed the
record holds the weights, and lives until it is deleted.
"""

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from service.jobs import keys
from service.jobs.connection import redis_errors
from service.jobs.contract import MediaRef

STYLE_ID = re.compile(r"style_[a-z2-7]{26}")
WEIGHTS_TYPE = "application/safetensors"
Ids = list[str]
CLAIM = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return redis.call('HGET', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
return ARGV[2]
"""
"""Takes a name for a new style, unless another has it: the id of whoever has the name then."""


def new_style_id() -> str:
    """`style_` and 128 random bits in lower-case base32."""
    return "style_" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


def is_style_id(text: str) -> bool:
    return STYLE_ID.fullmatch(text) is not None


class StyleRecord(BaseModel):
    """A style. `content` tells what it was, or is, learned from: equal ones are equal styles. Times are unix seconds;
    `owner` is empty where there are no API keys. `key`, `sha256` and `bytes` are those of the weights, once there are.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    name: str
    model: str
    prompt: str
    content: str
    created_at: int
    owner: str = ""
    job: str = ""
    key: str = ""
    sha256: str = ""
    bytes: int = 0

    @property
    def weights(self) -> MediaRef | None:
        if not self.key:
            return None
        return MediaRef(key=self.key, media_type=WEIGHTS_TYPE, sha256=self.sha256, bytes=self.bytes)


class StyleRecords:
    """All styles, or those of one owner: others are as if they did not exist.

    Every method raises RedisUnavailable when Redis does not answer.
    """

    def __init__(self, redis: Redis, owner: str | None = None) -> None:
        self.redis = redis
        self.owner = owner
        self._claim = redis.register_script(CLAIM)

    async def claim(self, *, name: str, model: str, prompt: str, content: str) -> tuple[StyleRecord, bool]:
        """The style of this name, and whether it is new. A new one has no job and no weights yet."""
        with redis_errors():
            now, microseconds = await self.redis.time()
            record = StyleRecord(
                id=new_style_id(),
                name=name,
                model=model,
                prompt=prompt,
                content=content,
                created_at=now,
                owner=self.owner or "",
            )
            pairs = [part for field, value in dict(record).items() for part in (field, value)]
            place = [keys.style_names(record.owner), keys.style(record.id), keys.STYLES]
            holder = await self._claim(keys=place, args=[name, record.id, now * 1_000_000 + microseconds, *pairs])
        if holder == record.id:
            return record, True
        known = await self.get(holder)
        if known is None:  # its record was lost
            with redis_errors():
                await self.redis.hdel(keys.style_names(record.owner), name)
            return await self.claim(name=name, model=model, prompt=prompt, content=content)
        return known, False

    async def has_job(self, style: StyleRecord, job_id: str) -> StyleRecord:
        """The style with the job that makes it."""
        with redis_errors():
            await self.redis.hset(keys.style(style.id), "job", job_id)
        return style.model_copy(update={"job": job_id})

    async def takes_weights(self, style: StyleRecord, other: StyleRecord) -> StyleRecord:
        """The style with the weights that `other` has."""
        weights: dict[Any, Any] = {"key": other.key, "sha256": other.sha256, "bytes": other.bytes}
        with redis_errors():
            await self.redis.hset(keys.style(style.id), mapping=weights)
        return style.model_copy(update=weights)

    async def get(self, style_id: str) -> StyleRecord | None:
        if not is_style_id(style_id):
            return None
        with redis_errors():
            fields = cast(Mapping[str, str], await self.redis.hgetall(keys.style(style_id)))
        return self.visible(fields)

    async def named(self, name: str) -> StyleRecord | None:
        """The owner's style of this id or name."""
        if is_style_id(name):
            return await self.get(name)
        with redis_errors():
            style_id = cast(str | None, await self.redis.hget(keys.style_names(self.owner or ""), name))
        return None if style_id is None else await self.get(style_id)

    async def list(self) -> Sequence[StyleRecord]:
        """All of them, the newest first."""
        with redis_errors():
            ids = cast(Ids, await self.redis.zrange(keys.STYLES, 0, -1, desc=True))
            async with self.redis.pipeline(transaction=False) as pipeline:
                for style_id in ids:
                    pipeline.hgetall(keys.style(style_id))
                rows = await pipeline.execute()
        return [style for style in map(self.visible, rows) if style is not None]

    async def delete(self, style: StyleRecord) -> None:
        """Forgets the style; its weights are the caller's to delete, unless others stand on them."""
        with redis_errors():
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(keys.style(style.id))
                pipeline.zrem(keys.STYLES, style.id)
                pipeline.hdel(keys.style_names(style.owner), style.name)
                await pipeline.execute()

    async def stand_on(self, key: str) -> bool:
        """Whether any style, of whatever owner, has these weights."""
        return any(style.key == key for style in await StyleRecords(self.redis).list())

    def visible(self, fields: Mapping[str, str]) -> StyleRecord | None:
        """The style of a record's fields, when there are any and the owner may see it."""
        if not fields.get("id") or self.owner not in (None, fields.get("owner", "")):
            return None
        return StyleRecord.model_validate(dict(fields))
