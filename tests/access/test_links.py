"""Signed links: content without a key, for one path, until they expire."""

import httpx
import pytest
from fastapi import FastAPI

from service.access.links import Links
from tests.access.conftest import ClientOf
from tests.api.gateway import Bench

FILM = bytes(range(256)) * 8


@pytest.fixture
async def owner(client_of: ClientOf) -> httpx.AsyncClient:
    return await client_of()


@pytest.fixture
async def stranger(client_of: ClientOf) -> httpx.AsyncClient:
    """Without a key: a browser that plays `<video src>`."""
    return await client_of(token="")


@pytest.fixture
async def video_id(owner: httpx.AsyncClient, bench: Bench) -> str:
    video_id = str((await owner.post("/v1/text-to-video", json={"prompt": "a ball"})).json()["id"])
    bench.complete(bench.claim(video_id), FILM)
    return video_id


async def link(owner: httpx.AsyncClient, video_id: str, **parameters: object) -> str:
    answer = await owner.get(f"/v1/videos/{video_id}/link", params={**parameters})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["url"])


async def test_a_link_needs_no_key(owner: httpx.AsyncClient, stranger: httpx.AsyncClient, video_id: str) -> None:
    url = await link(owner, video_id)

    assert (await stranger.get(f"/v1/videos/{video_id}/content")).status_code == 401
    assert (await stranger.get(url)).content == FILM
    part = await stranger.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, FILM[10:20])
    assert (await stranger.head(url)).headers["content-length"] == str(len(FILM))
    still = await stranger.get(await link(owner, video_id, variant="thumbnail"))
    assert still.headers["content-type"] == "image/webp"


async def test_a_link_opens_nothing_else(
    owner: httpx.AsyncClient, stranger: httpx.AsyncClient, video_id: str, bench: Bench
) -> None:
    path, _, query = (await link(owner, video_id)).partition("?")
    other = str((await owner.post("/v1/text-to-video", json={"prompt": "a cube"})).json()["id"])

    for url in (
        f"/v1/videos/{other}/content?{query}",
        f"/v1/videos/{video_id}?{query}",
        f"{path}?{query.replace('variant=video', 'variant=thumbnail')}",
        f"{path}?{query}&variant=thumbnail",
        f"{path}?{query[:-1]}{'0' if query[-1] != '0' else '1'}",
        f"{path}?{query.replace('expires=1', 'expires=2')}",
        f"{path}?&sig=",
        f"{path}?variant=video&sig=%ff",
    ):
        answer = await stranger.get(url)
        assert (answer.status_code, answer.json()["code"]) == (403, "invalid_link"), url
    assert (await stranger.delete(f"{path}?{query}")).status_code == 401


async def test_a_link_expires(
    app: FastAPI, owner: httpx.AsyncClient, stranger: httpx.AsyncClient, video_id: str
) -> None:
    links: Links = app.state.resources.links
    url = await link(owner, video_id, expires_in=60)
    now = links.clock()

    links.clock = lambda: now + 58
    assert (await stranger.get(url)).status_code == 200
    links.clock = lambda: now + 61
    assert (await stranger.get(url)).json()["code"] == "invalid_link"


async def test_another_gateway_knows_the_link(app: FastAPI, owner: httpx.AsyncClient, video_id: str) -> None:
    path, _, query = (await link(owner, video_id)).partition("?")

    assert await Links(app.state.resources.records.redis).opens(path, query)


async def test_only_the_owner_gets_a_link(owner: httpx.AsyncClient, client_of: ClientOf, video_id: str) -> None:
    other = await client_of()

    assert (await other.get(f"/v1/videos/{video_id}/link")).status_code == 404
    for seconds in (59, 86_401):
        answer = await owner.get(f"/v1/videos/{video_id}/link", params={"expires_in": seconds})
        assert (answer.status_code, answer.json()["param"]) == (400, "expires_in")


async def test_no_link_before_there_is_a_video(owner: httpx.AsyncClient) -> None:
    video_id = (await owner.post("/v1/text-to-video", json={"prompt": "a ball"})).json()["id"]

    assert (await owner.get(f"/v1/videos/{video_id}/link")).json()["code"] == "video_not_ready"
