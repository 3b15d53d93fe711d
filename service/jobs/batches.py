"""Calls of one script, grouped: those that come while a group is on its way leave together in the next one.

A group costs one write, one read and one turn of the event loop, however many calls it has; a call that comes alone
leaves at once. Each call is a script of its own, which changes all or nothing.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from service.jobs.connection import RedisUnavailable, deadline, redis_errors

LARGEST_GROUP = 64
Arguments = Sequence[str | int | float]


class GroupedScript:
    """One Lua script without keys."""

    def __init__(self, redis: Redis, text: str) -> None:
        self.redis = redis
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.waiting: list[tuple[Arguments, asyncio.Future[Any]]] = []
        self.sender: asyncio.Task[None] | None = None

    async def __call__(self, arguments: Arguments) -> Any:
        """What the script returns.

        Raises:
            RedisUnavailable: after DEADLINE_SECONDS at most.
            ResponseError: a defect of the script.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((arguments, answer))
        if self.sender is None or self.sender.done():
            self.sender = asyncio.create_task(self.send())
        return await answer

    async def send(self) -> None:
        """Sends groups until nobody waits."""
        while self.waiting:
            group, self.waiting = self.waiting[:LARGEST_GROUP], self.waiting[LARGEST_GROUP:]
            try:
                async with deadline():
                    replies = await self.call_all([arguments for arguments, _ in group])
            except TimeoutError as error:
                group, self.waiting = group + self.waiting, []  # they have waited as long, or nearly
                unavailable = RedisUnavailable("Redis did not answer in time")
                unavailable.__cause__ = error
                replies = [unavailable] * len(group)
            except Exception as error:
                replies = [error] * len(group)
            for (_, answer), reply in zip(group, replies, strict=True):
                give(answer, reply)

    async def call_all(self, calls: Sequence[Arguments]) -> list[Any]:
        """The replies, or the errors in their place. Raises RedisUnavailable when none is known."""
        with redis_errors():
            replies = await self.call_known(calls)
            again = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if again:  # Redis has been restarted; none of these has run
                await self.redis.script_load(self.text)
                fresh = await self.call_known([calls[place] for place in again])
                for place, reply in zip(again, fresh, strict=True):
                    replies[place] = reply
        return [translated(reply) for reply in replies]

    async def call_known(self, calls: Sequence[Arguments]) -> list[Any]:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for arguments in calls:
                pipeline.evalsha(self.sha, 0, *arguments)
            return await pipeline.execute(raise_on_error=False)


def translated(reply: Any) -> Any:
    """The reply, with an error that means "not now" as RedisUnavailable."""
    if not isinstance(reply, Exception):
        return reply
    try:
        with redis_errors():
            raise reply
    except Exception as error:
        return error


def give(answer: asyncio.Future[Any], reply: Any) -> None:
    if answer.done():  # the caller has gone
        return
    if isinstance(reply, Exception):
        answer.set_exception(reply)
    else:
        answer.set_result(reply)
