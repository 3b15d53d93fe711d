"""Gateways hold no state: any of them answers for every job, and a new one goes on where the last one stopped."""

from collections.abc import AsyncIterator

import httpx
import pytest

from service.api.app import create_app
from service.settings import Settings
from tests.api.gateway import Bench, listening


@pytest.fixture
async def both(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    with listening(create_app(settings)) as left, listening(create_app(settings)) as right:
        async with (
            httpx.AsyncClient(base_url=left, trust_env=False) as one,
            httpx.AsyncClient(base_url=right, trust_env=False) as other,
        ):
            yield one, other


async def test_two_gateways_are_one_service(both: tuple[httpx.AsyncClient, httpx.AsyncClient], bench: Bench) -> None:
    one, other = both
    key = {"Idempotency-Key": "same"}
    first = await one.post("/v1/text-to-video", json={"prompt": "a ball"}, headers=key)
    again = await other.post("/v1/text-to-video", json={"prompt": "a ball"}, headers=key)
    path = first.headers["location"]
    async with other.stream("GET", f"{path}/events") as answer:
        lines = answer.aiter_lines()
        while not (await anext(lines)).startswith("data:"):
            pass
        bench.complete(bench.claim(first.json()["id"]), b"film")
        seen = [line async for line in lines if line.startswith("data:")]

    assert again.headers["idempotent-replayed"] == "true"
    assert (await other.get(path)).json() == (await one.get(path)).json()
    assert '"completed"' in seen[-1]
    assert (await other.get(f"{path}/content")).content == b"film"
    assert (await one.delete(path)).status_code == 200
    assert (await other.get(path)).status_code == 404


async def test_a_restarted_gateway_knows_every_job(settings: Settings, bench: Bench) -> None:
    with listening(create_app(settings)) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            answers = [await client.post("/v1/text-to-video", json={"prompt": f"ball {n}"}) for n in range(5)]
            paths = [answer.headers["location"] for answer in answers]
            bench.complete(bench.claim(answers[0].json()["id"]), b"film")
    with listening(create_app(settings)) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            states = [(await client.get(path)).json()["status"] for path in paths]

    assert states == ["completed"] + ["queued"] * 4
