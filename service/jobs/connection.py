"""Connections to Redis that fail fast, and the scripts that change jobs.

redis-py's defaults would repeat commands that are not idempotent and block for a minute when Redis hangs; here nothing
is repeated and nothing waits longer than `TIMEOUT_SECONDS`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.retry import Retry

TIMEOUT_SECONDS = 2.0
DEADLINE_SECONDS = 1.5
"""The longest that a request waits for the job store, so that a hung Redis is a quick 503."""
POOL_CONNECTIONS = 64


class RedisUnavailable(RuntimeError):
    """Redis did not answer, or cannot take writes now. What was asked may or may not have happened."""


class RedisFull(RedisUnavailable):
    """Redis has used up the memory that it may take."""


def deadline() -> asyncio.Timeout:
    """The time that a request has for the job store."""
    return asyncio.timeout(DEADLINE_SECONDS)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns every error that means "not now" into RedisUnavailable; others are bugs and pass."""
    try:
        yield
    except OutOfMemoryError as error:
        raise RedisFull(f"Redis is full: {error}") from error
    except (redis.ConnectionError, redis.TimeoutError, BusyLoadingError, ReadOnlyError) as error:
        raise RedisUnavailable(f"Redis is not available: {error}") from error
    except ResponseError as error:
        if str(error).startswith("OOM"):
            raise RedisFull(f"Redis is full: {error}") from error
        if str(error).startswith(("MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "BUSY")):
            raise RedisUnavailable(f"Redis cannot take writes: {error}") from error
        raise


def connect(url: str) -> redis.asyncio.Redis:
    """A client for an event loop; opens no connection yet. At most POOL_CONNECTIONS connections, then calls wait."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=POOL_CONNECTIONS,
        timeout=TIMEOUT_SECONDS,
        decode_responses=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=AsyncRetry(NoBackoff(), 0),
    )
    return redis.asyncio.Redis.from_pool(pool)


def connect_blocking(url: str) -> redis.Redis:
    """The same for a worker's own thread."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


@cache
def script(name: str) -> str:
    """The text of one Lua script, with the functions that all share."""
    folder = files("service.jobs") / "scripts"
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("common", name))
