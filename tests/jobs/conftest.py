"""One Redis for the tests of the job system, emptied before each of them."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis

from service.jobs.connection import connect, connect_blocking
from service.jobs.policy import JobPolicy
from service.jobs.record import JobRecords
from tests.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="lumiere-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def blocking(redis_url: str, patience: None) -> Iterator[redis.Redis]:
    with connect_blocking(redis_url) as client:
        yield client


@pytest_asyncio.fixture
async def records(redis_url: str, patience: None) -> AsyncIterator[JobRecords]:
    records = JobRecords(connect(redis_url), JobPolicy())
    yield records
    await records.close()
