"""Server-sent events over a real connection: snapshot, progress, replay, keep-alive, end."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import routing

from tests.api.gateway import Bench


@dataclass
class Event:
    id: str
    name: str
    data: dict[str, Any]


async def events_of(answer: httpx.Response) -> AsyncIterator[Event | str]:
    """The events of a stream, and its comments as plain strings."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line.startswith(":"):
            yield line
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


async def follow(client: httpx.AsyncClient, video_id: str, last_event_id: str | None = None) -> list[Event]:
    """All events to the end of the stream."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with client.stream("GET", f"/v1/videos/{video_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        return [event async for event in events_of(answer) if isinstance(event, Event)]


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
async def video_id(http: httpx.AsyncClient) -> str:
    return str((await http.post("/v1/text-to-video", json={"prompt": "a red ball"})).json()["id"])


async def test_a_job_is_followed_to_its_end(http: httpx.AsyncClient, video_id: str, bench: Bench) -> None:
    async with http.stream("GET", f"/v1/videos/{video_id}/events") as answer:
        events = events_of(answer)
        snapshot = await anext(events)
        assert isinstance(snapshot, Event)
        job = bench.claim(video_id)
        for step in (5, 10, 20):
            bench.step(job, step, eta_seconds=20 - step)
        bench.complete(job, b"film")
        rest = [event async for event in events if isinstance(event, Event)]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-request-id"]
    assert (snapshot.name, snapshot.data["status"]) == ("state", "queued")
    assert [event.name for event in rest] == ["state", "progress", "progress", "progress", "state"]
    assert [event.data["status"] for event in rest] == ["in_progress"] * 4 + ["completed"]
    assert [event.data["progress"] for event in rest] == [0, 25, 50, 100, 100]
    assert [event.data["step"] for event in rest[1:4]] == [5, 10, 20]
    assert rest[1].data["eta_seconds"] == 15
    assert rest[1].data["steps"] == 20
    assert rest[1].data["elapsed_seconds"] >= 0


async def test_any_break_can_be_taken_up_again(http: httpx.AsyncClient, video_id: str, bench: Bench) -> None:
    job = bench.claim(video_id)
    for step in range(1, 20):
        bench.step(job, step)
    bench.complete(job, b"film")
    first = (await follow(http, video_id, "0-0"))[0]
    everything = [first, *await follow(http, video_id, first.id)]

    assert [event.data["status"] for event in (everything[0], everything[-1])] == ["queued", "completed"]
    assert len({event.id for event in everything}) == len(everything)
    for seen in range(len(everything) - 1):
        assert await follow(http, video_id, everything[seen].id) == everything[seen + 1 :]
    last = await follow(http, video_id, everything[-1].id)
    assert [event.data["status"] for event in last] == ["completed"]


async def test_many_followers_see_the_same(http: httpx.AsyncClient, video_id: str, bench: Bench) -> None:
    followers = [asyncio.create_task(follow(http, video_id, "0-0")) for _ in range(50)]
    await asyncio.sleep(0.3)
    job = bench.claim(video_id)
    bench.step(job, 7)
    bench.fail(job)
    seen = await asyncio.gather(*followers)

    assert all(events == seen[0] for events in seen)
    assert seen[0][-1].data["status"] == "failed"
    assert seen[0][-1].data["error"]["code"] == "out_of_memory"


async def test_a_finished_job_is_one_snapshot(http: httpx.AsyncClient, video_id: str) -> None:
    await http.post(f"/v1/videos/{video_id}/cancel")

    assert [(event.name, event.data["status"]) for event in await follow(http, video_id)] == [("state", "cancelled")]


async def test_idle_streams_are_kept_alive(
    http: httpx.AsyncClient, video_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "_PING_INTERVAL", 0.1)
    async with http.stream("GET", f"/v1/videos/{video_id}/events") as answer:
        events = events_of(answer)
        assert isinstance(await anext(events), Event)

        assert await anext(events) == await anext(events) == ": ping"


async def test_a_follower_that_leaves_leaves_nothing(
    http: httpx.AsyncClient, video_id: str, bench: Bench, url: str
) -> None:
    for _ in range(20):
        async with http.stream("GET", f"/v1/videos/{video_id}/events") as answer:
            assert isinstance(await anext(events_of(answer)), Event)
    deadline = asyncio.get_running_loop().time() + 5
    while bench.redis.pubsub_numsub("lumiere:events")[0][1]:
        assert asyncio.get_running_loop().time() < deadline, "the subscription outlives its followers"
        await asyncio.sleep(0.05)


async def test_deleting_a_job_ends_its_stream(http: httpx.AsyncClient, video_id: str) -> None:
    async with http.stream("GET", f"/v1/videos/{video_id}/events") as answer:
        events = events_of(answer)
        assert isinstance(await anext(events), Event)
        await http.delete(f"/v1/videos/{video_id}")
        rest = [event async for event in events if isinstance(event, Event)]

    assert [event.data["status"] for event in rest] in (["cancelled"], [])


@pytest.mark.parametrize("last", ["x", "1-", "-1", "1-2-3", "9" * 50 + "-0", "١-٢"])
async def test_a_malformed_last_event_id_is_refused(http: httpx.AsyncClient, video_id: str, last: str) -> None:
    answer = await http.get(f"/v1/videos/{video_id}/events", headers={"Last-Event-ID": last.encode()})  # type: ignore[dict-item]

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")
    assert answer.json()["param"] == "Last-Event-ID"


async def test_an_id_from_the_future_waits_for_the_end(http: httpx.AsyncClient, video_id: str) -> None:
    """A Redis that lost its last second may be behind its clients; they still learn of the end."""
    waiting = asyncio.create_task(follow(http, video_id, "99999999999999-0"))
    await asyncio.sleep(0.2)
    await http.post(f"/v1/videos/{video_id}/cancel")

    assert [event.data["status"] for event in await asyncio.wait_for(waiting, 10)] == ["cancelled"]


async def test_previews_are_shown_and_then_forgotten(http: httpx.AsyncClient, video_id: str, bench: Bench) -> None:
    job = bench.claim(video_id)
    async with http.stream("GET", f"/v1/videos/{video_id}/events") as answer:
        events = events_of(answer)
        snapshot = await anext(events)
        assert isinstance(snapshot, Event)
        bench.step(job, 3, eta_seconds=8, preview=b"first")
        bench.step(job, 4, preview=b"second")
        bench.step(job, 5)
        seen = []
        async for event in events:
            assert isinstance(event, Event)
            seen.append(event)
            if event.data["step"] == 5:
                bench.complete(job, b"film")
    previews = [event for event in seen if event.name == "preview"]

    assert previews[-1].data["image"] == "data:image/webp;base64," + base64.b64encode(b"second").decode()
    assert (previews[-1].data["step"], previews[-1].data["status"]) == (4, "in_progress")
    assert (seen[-1].name, seen[-1].data["status"]) == ("state", "completed")
    replayed = await follow(http, video_id, snapshot.id)
    assert "preview" not in {event.name for event in replayed}, "pictures are not kept"
    assert [event.data["step"] for event in replayed if event.name == "progress"] == [3, 4, 5]
