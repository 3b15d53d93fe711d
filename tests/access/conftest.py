"""A gateway that asks for keys, without a network, on a real Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.access.keys import ApiKeys
from service.api.app import create_app
from service.jobs.connection import connect
from service.settings import Settings
from tests.api.conftest import bench, quiet_log, redis_url, shared_redis
from tests.api.gateway import write_card

__all__ = ["bench", "quiet_log", "redis_url", "shared_redis"]

ClientOf = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    card = write_card(tmp_path / "model")
    return Settings(redis_url=redis_url, data_dir=tmp_path / "data", model_dirs=[card], auth="keys")


@pytest.fixture
async def keys(redis_url: str) -> AsyncIterator[ApiKeys]:
    redis = connect(redis_url)
    yield ApiKeys(redis)
    await redis.aclose()


@pytest.fixture
async def app(settings: Settings, patience: None) -> AsyncIterator[FastAPI]:
    """Started."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client_of(app: FastAPI, keys: ApiKeys) -> AsyncIterator[ClientOf]:
    """`client_of(**options of ApiKeys.create)`: a client with a fresh key; `client_of(token=...)`: with that token."""
    clients: list[httpx.AsyncClient] = []

    async def make(token: str | None = None, **options: Any) -> httpx.AsyncClient:
        if token is None:
            _, token = await keys.create(**options)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()
