"""Alive is not ready: ready means that Redis, storage and a warm worker answer."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api.app import create_app
from service.jobs.contract import WorkerInfo, WorkerState
from service.settings import Settings
from tests.api.gateway import CARD, MODEL, Bench, write_card


async def checks(client: httpx.AsyncClient) -> tuple[int, dict[str, Any]]:
    answer = await client.get("/readyz")
    return answer.status_code, answer.json()["checks"]


async def test_alive_without_anything_else(client: httpx.AsyncClient) -> None:
    answer = await client.get("/livez")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert (await client.head("/livez")).status_code == 200


@pytest.mark.parametrize("state", [WorkerState.READY, WorkerState.BUSY])
async def test_ready_with_a_warm_worker(client: httpx.AsyncClient, bench: Bench, state: WorkerState) -> None:
    bench.announce(state)
    answer = await client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert all(check["ok"] for check in answer.json()["checks"].values())
    assert set(answer.json()["checks"]) == {"redis", "storage", "worker"}


async def test_not_ready_without_a_worker(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "not_ready", True)
    assert answer.json()["checks"]["worker"] == {"ok": False, "detail": "no worker is running"}
    assert answer.json()["checks"]["redis"]["ok"] is True
    assert int(answer.headers["retry-after"]) <= 120


@pytest.mark.parametrize("state", [WorkerState.LOADING, WorkerState.FAILED])
async def test_not_ready_with_a_cold_worker(client: httpx.AsyncClient, bench: Bench, state: WorkerState) -> None:
    bench.announce(state, detail="unet/ is missing")
    status, found = await checks(client)

    assert status == 503
    assert found["worker"] == {"ok": False, "detail": f"bench is {state} (unet/ is missing)"}


async def test_not_ready_when_the_storage_cannot_be_written(
    client: httpx.AsyncClient, bench: Bench, settings: Settings
) -> None:
    bench.announce(WorkerState.READY)
    shutil.rmtree(settings.data_dir)
    settings.data_dir.write_text("a file where the folder was")
    status, found = await checks(client)

    assert status == 503
    assert found["storage"] == {"ok": False, "detail": "does not answer"}
    assert found["worker"]["ok"] is True


async def test_not_ready_when_the_reaper_has_died(app: FastAPI, client: httpx.AsyncClient, bench: Bench) -> None:
    bench.announce(WorkerState.READY)
    app.state.resources.reaper.cancel()
    status, found = await checks(client)
    if found["redis"]["ok"]:  # the cancellation takes one turn of the loop
        status, found = await checks(client)

    assert status == 503
    assert "reaper" in found["redis"]["detail"]


async def test_each_model_needs_a_worker_that_holds_it(settings: Settings, bench: Bench, tmp_path: Path) -> None:
    """`bench` holds one of the two."""
    other = write_card(tmp_path / "other", {**CARD, "id": "other"})
    app = create_app(settings.model_copy(update={"model_dirs": [*settings.model_dirs, other]}))
    bench.announce(WorkerState.READY)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        status, found = await checks(client)
        assert (status, found["worker"]["ok"]) == (503, False)
        assert "no worker holds other" in found["worker"]["detail"]

        listed = (await client.get("/v1/models")).json()["data"]
        assert [(model["id"], model["workers"]) for model in listed] == [(MODEL, 1), ("other", 0)]
        assert (await client.get("/v1/models/other")).json()["workers"] == 0
        waits = await client.post("/v1/text-to-video", json={"prompt": "a ball", "model": "other"})
        assert (waits.status_code, waits.json()["queue_position"]) == (202, 0), "it is configured: a worker may come"
        unknown = await client.post("/v1/text-to-video", json={"prompt": "a ball", "model": "nobody's"})
        assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_model")

        second = WorkerInfo(name="second", state=WorkerState.READY, models=("other",), seen_seconds_ago=0)
        bench.attempts.announce(second)
        assert (await checks(client))[0] == 200
