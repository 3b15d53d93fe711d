import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import redis
import structlog
from fastapi import FastAPI

from service.api.app import create_app
from service.settings import Settings
from tests.api.gateway import Bench, listening, write_card
from tests.redis_server import RedisServer


@pytest.fixture(scope="session", autouse=True)
def quiet_log() -> Iterator[None]:
    """structlog's own default draws pictures of tracebacks, which takes seconds."""
    with Path(os.devnull).open("w") as nowhere:
        structlog.configure(
            [structlog.processors.KeyValueRenderer()], logger_factory=structlog.PrintLoggerFactory(nowhere)
        )
        yield
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="lumiere-") as folder:  # short: a socket path has 107 characters at most
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(shared_redis.url) as client:
        client.flushall()
    return shared_redis.url


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=redis_url, data_dir=tmp_path / "data", model_dirs=[write_card(tmp_path / "model")])


@pytest.fixture
def app(settings: Settings, patience: None) -> FastAPI:
    return create_app(settings)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The started application, without a network."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    bench = Bench(settings)
    yield bench
    bench.close()


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """The started application on loopback."""
    with listening(app) as address:
        yield address
