"""What is known of uploaded files: one hash in Redis for each, beside its bytes in the storage."""

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from service.jobs import keys
from service.jobs.connection import redis_errors
from service.jobs.contract import MediaRef
from service.jobs.pages import forget, place_of

FILE_ID = re.compile(r"file_[a-z2-7]{26}")
Ids = list[str]


def new_file_id() -> str:
    """`file_` and 128 random bits in lower-case base32."""
    return "file_" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


def is_file_id(text: str) -> bool:
    return FILE_ID.fullmatch(text) is not None


def upload_key(file_id: str) -> str:
    """Where the storage holds the file."""
    return f"uploads/{file_id}"


class FileRecord(BaseModel):
    """An uploaded file. Times are unix seconds; `owner` is empty where there are no API keys."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    filename: str
    bytes: int
    media_type: str
    sha256: str
    purpose: str
    created_at: int
    expires_at: int
    owner: str = ""

    @property
    def ref(self) -> MediaRef:
        return MediaRef(key=upload_key(self.id), media_type=self.media_type, sha256=self.sha256, bytes=self.bytes)


Files = list[FileRecord]  # within FileRecords `list` is a method


class FileRecords:
    """All uploads, or those of one owner: others are as if they did not exist.

    Every method raises RedisUnavailable when Redis does not answer.
    """

    def __init__(self, redis: Redis, retention_seconds: int, owner: str | None = None) -> None:
        self.redis = redis
        self.retention_seconds = retention_seconds
        self.owner = owner

    async def add(
        self,
        file_id: str,
        media: MediaRef,
        *,
        filename: str,
        purpose: str,
        lifetime_seconds: int | None = None,
    ) -> FileRecord:
        """Records a file that is stored already."""
        with redis_errors():
            now, microseconds = await self.redis.time()
            lifetime = self.retention_seconds if lifetime_seconds is None else lifetime_seconds
            record = FileRecord(
                id=file_id,
                filename=filename,
                bytes=media.bytes,
                media_type=media.media_type,
                sha256=media.sha256,
                purpose=purpose,
                created_at=now,
                expires_at=now + lifetime,
                owner=self.owner or "",
            )
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(keys.file(file_id), mapping=dict(record))
                pipeline.expireat(keys.file(file_id), record.expires_at)
                pipeline.zadd(keys.FILES, {file_id: now * 1_000_000 + microseconds})
                await pipeline.execute()
        return record

    async def get(self, file_id: str) -> FileRecord | None:
        """The file; None when there is none (any more)."""
        if not is_file_id(file_id):
            return None
        with redis_errors():
            fields = cast(Mapping[str, str], await self.redis.hgetall(keys.file(file_id)))
        return self.visible(fields)

    async def keep(self, file_id: str) -> None:
        """A job uses the file: it stays for at least another retention."""
        with redis_errors():
            until = int((await self.redis.time())[0]) + self.retention_seconds
            if await self.redis.expireat(keys.file(file_id), until, gt=True):
                await self.redis.hset(keys.file(file_id), "expires_at", str(until))

    async def delete(self, file_id: str) -> None:
        """Forgets the file; its bytes are the caller's to delete."""
        with redis_errors():
            await self.redis.delete(keys.file(file_id))
            await forget(self.redis, file_id, keys.FILES)

    async def list(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = True,
        purpose: str | None = None,
    ) -> Sequence[FileRecord]:
        """Up to `limit` files by time of creation, beginning behind the file `after`. An unknown `after` gives none."""
        found: Files = []
        with redis_errors():
            rank = -1
            if after is not None:
                known = is_file_id(after)
                place = await place_of(self.redis, keys.FILES, after, newest_first=newest_first) if known else None
                if place is None:
                    return []
                rank = place
            while len(found) < limit:
                page = cast(Ids, await self.redis.zrange(keys.FILES, rank + 1, rank + limit, desc=newest_first))
                if not page:
                    break
                async with self.redis.pipeline(transaction=False) as pipeline:
                    for file_id in page:
                        pipeline.hgetall(keys.file(file_id))
                    rows = await pipeline.execute()
                gone = [file_id for file_id, fields in zip(page, rows, strict=True) if not fields]
                if gone:  # their records have expired
                    await self.redis.zrem(keys.FILES, *gone)
                files = (self.visible(fields) for fields in rows)
                found += [file for file in files if file is not None and purpose in (None, file.purpose)]
                rank += len(page) - len(gone)
        return found[:limit]

    def visible(self, fields: Mapping[str, str]) -> FileRecord | None:
        """The file of a record's fields, when there are any and the owner may see it."""
        if not fields or self.owner not in (None, fields.get("owner", "")):
            return None
        return FileRecord.model_validate(dict(fields))
