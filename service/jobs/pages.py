"""Where a page of an index begins, also behind a member that was deleted: clients delete what they page through."""

from typing import cast

from redis.asyncio import Redis

from service.jobs import keys

CURSOR_SECONDS = 3600
"""For which the place of a deleted member is known."""


async def forget(redis: Redis, name: str, *indexes: str) -> None:
    """Takes a member out of indexes that have it at the same score."""
    score = await redis.zscore(indexes[0], name)
    async with redis.pipeline(transaction=True) as pipeline:
        if score is not None:
            pipeline.set(keys.gone(name), f"{score:.0f}", ex=CURSOR_SECONDS)
        for index in indexes:
            pipeline.zrem(index, name)
        await pipeline.execute()


async def place_of(redis: Redis, index: str, name: str, *, newest_first: bool) -> int | None:
    """The rank of a member, or that of the member before the place where a deleted one was; None for all others."""
    rank = cast(int | None, await (redis.zrevrank if newest_first else redis.zrank)(index, name))
    if rank is not None:
        return rank
    score = cast(str | None, await redis.get(keys.gone(name)))
    if score is None:
        return None
    alike = cast(list[str], await redis.zrange(index, score, score, byscore=True))
    if newest_first:
        return int(await redis.zcount(index, f"({score}", "+inf")) + sum(other > name for other in alike) - 1
    return int(await redis.zcount(index, "-inf", f"({score}")) + sum(other < name for other in alike) - 1
