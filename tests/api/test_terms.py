"""The headers that say how a request is to be taken: waited for, given up in time, ahead of others."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.gateway import Bench

SUBMIT = "/v1/text-to-video"
BODY = {"prompt": "a ball"}


async def state(client: httpx.AsyncClient, video_id: str) -> str:
    return str((await client.get(f"/v1/videos/{video_id}")).json()["status"])


async def until(client: httpx.AsyncClient, video_id: str, wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (video := (await client.get(f"/v1/videos/{video_id}")).json())["status"] != wanted:
            await asyncio.sleep(0.05)
    return dict(video)


@pytest.mark.parametrize("path", [SUBMIT, "/v1/videos"])
async def test_prefer_wait_answers_when_the_job_has_ended(client: httpx.AsyncClient, bench: Bench, path: str) -> None:
    request = asyncio.create_task(client.post(path, json=BODY, headers={"Prefer": "respond-async, wait=60"}))
    async with asyncio.timeout(20):
        while not (listed := (await client.get("/v1/videos")).json()["data"]):
            await asyncio.sleep(0.02)
    bench.complete(bench.claim(listed[0]["id"]), b"film")
    answer = await asyncio.wait_for(request, 20)

    assert answer.json()["status"] == "completed"
    assert answer.headers["preference-applied"] == "wait=60"
    assert "openai-poll-after-ms" not in answer.headers


async def test_prefer_wait_ends_in_time(client: httpx.AsyncClient) -> None:
    answer = await client.post(SUBMIT, json=BODY, headers={"Prefer": "wait=1"})

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


@pytest.mark.parametrize("prefer", ["wait", "wait=-1", "wait=1e9", "waiting=5", "return=minimal"])
async def test_other_preferences_are_ignored(client: httpx.AsyncClient, prefer: str) -> None:
    answer = await client.post(SUBMIT, json=BODY, headers={"Prefer": prefer})

    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


async def test_a_waiting_job_is_cancelled_when_its_time_is_up(client: httpx.AsyncClient) -> None:
    video_id = (await client.post(SUBMIT, json=BODY, headers={"Cancel-After": "1s"})).json()["id"]
    patient = (await client.post(SUBMIT, json=BODY, headers={"Cancel-After": "1h30m"})).json()["id"]
    video = await until(client, video_id, "cancelled")

    assert video["error"]["code"] == "cancelled"
    assert await state(client, patient) == "queued"


async def test_a_running_job_is_told_to_stop(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = (await client.post(SUBMIT, json=BODY, headers={"Cancel-After": "1"})).json()["id"]
    job = bench.claim(video_id)
    async with asyncio.timeout(30):
        while bench.step(job, 1) != "cancel":
            await asyncio.sleep(0.05)
    bench.confirm_cancel(job)

    assert await state(client, video_id) == "cancelled"


async def test_a_job_that_ends_in_time_is_left_alone(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = (await client.post(SUBMIT, json=BODY, headers={"Cancel-After": "1"})).json()["id"]
    bench.complete(bench.claim(video_id), b"film")

    assert bench.redis.zscore("lumiere:deadlines", video_id) is None
    assert await state(client, video_id) == "completed"


@pytest.mark.parametrize("value", ["", "0", "0s", "-1", "1d", "25h", "soon", "1.5", "9" * 40, "٣"])
async def test_other_lifetimes_are_refused(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.post(SUBMIT, json=BODY, headers={"Cancel-After": value.encode()})

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["param"]) == (400, "invalid_header", "Cancel-After")


async def test_priorities(client: httpx.AsyncClient) -> None:
    low, normal, high = [
        (await client.post(SUBMIT, json={**BODY, "priority": priority})).json()
        for priority in ("low", "normal", "high")
    ]
    positions = [
        (await client.get(f"/v1/videos/{video['id']}")).json()["queue_position"] for video in (high, normal, low)
    ]

    assert positions == [0, 1, 2]


async def test_repeats_by_the_client_stand_for_the_same_job(client: httpx.AsyncClient, bench: Bench) -> None:
    async def post(retry: str | None, prompt: str = "a ball") -> str:
        headers = {"x-stainless-lang": "python"} if retry is None else {"x-stainless-retry-count": retry}
        answer = await client.post("/v1/videos", json={"prompt": prompt}, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    lost = await post("1")
    again, other, fresh = await post("2"), await post("1", "a star"), await post("0")
    plain, last = await post(None), await post("1")

    assert lost == again
    assert len({lost, other, fresh, plain}) == 4
    assert last == plain, "a repeat stands for the latest"
    bench.redis.hincrby(f"lumiere:job:{plain}", "created_ms", -1_300_000)
    assert await post("1") not in {lost, fresh, plain}, "what was asked for long ago is no repeat"
