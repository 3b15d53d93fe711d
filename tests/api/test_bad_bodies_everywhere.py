"""The corpus of bad bodies, and of bad ids, on every route that takes a body or an id: never a 5xx, never a job."""

import random

import httpx
import pytest

from tests.api.media import data_url, picture
from tests.api.test_bad_bodies import CORPUS, JSON

ENDPOINT = "/v1/webhook_endpoints"
VIDEO = "video_" + "a" * 26
ROUTES = [
    "/v1/image-to-video",
    "/v1/inpaint",
    "/v1/cinemagraph",
    "/v1/stylize",
    "/v1/videos",
    "/v1/videos/edits",
    "/v1/videos/extensions",
    "/v1/videos/characters",
    f"/v1/videos/{VIDEO}/remix",
    "/v1/files",
    "/v1/uploads",
    "/v1/styles",
    ENDPOINT,
    f"{ENDPOINT}/we_{'a' * 26}",
    f"{ENDPOINT}/we_{'a' * 26}/rotate_secret",
    f"{ENDPOINT}/we_{'a' * 26}/test",
]
LARGE = {"5 MB prompt", "many keys"}
IDS = ["..", "%2e%2e%2fsecret", "%00", "a" * 4000, "vidéo", "video_", "∕etc", "{x}", "%ff", "-1", "video_" + "A" * 26]


def is_refusal(answer: httpx.Response) -> bool:
    return 400 <= answer.status_code < 500 and answer.headers["content-type"] == "application/problem+json"


async def nothing_is_left(client: httpx.AsyncClient) -> bool:
    lists = [(await client.get(path)).json()["data"] for path in ("/v1/videos", "/v1/files", ENDPOINT)]
    return lists == [[], [], []]


@pytest.mark.parametrize("path", ROUTES)
async def test_bodies(client: httpx.AsyncClient, path: str) -> None:
    for name, (content, _) in CORPUS.items():
        if name in LARGE and path not in ("/v1/videos", "/v1/files"):
            continue  # the same reader; twice is enough
        answer = await client.post(path, content=content, headers=JSON)
        assert is_refusal(answer), (name, answer.status_code, answer.text[:500])
        assert len(answer.content) < 4000, name
    assert await nothing_is_left(client)


@pytest.mark.parametrize("path", ROUTES)
async def test_forms_with_flipped_bytes(client: httpx.AsyncClient, path: str) -> None:
    """Whatever the damage, it is refused, or the form still says something that can be done."""
    request = client.build_request("POST", path, data={"prompt": "a"}, files={"image": picture(), "file": b"x"})
    sound = bytearray(b"".join([chunk async for chunk in request.stream]))  # type: ignore[union-attr]
    chance = random.Random(path)
    for _ in range(20):
        damaged = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        cut = bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.5 else damaged)
        answer = await client.post(path, content=cut, headers={"Content-Type": request.headers["content-type"]})
        assert answer.status_code < 500, (answer.text, cut)


@pytest.mark.parametrize("bad", IDS)
async def test_ids(client: httpx.AsyncClient, bad: str) -> None:
    paths = [f"/v1/videos/{bad}", f"/v1/videos/{bad}/content", f"/v1/files/{bad}", f"{ENDPOINT}/{bad}"]
    for path in [*paths, f"{ENDPOINT}/{bad}/deliveries", f"/v1/videos/characters/{bad}"]:
        answer = await client.get(path)
        assert answer.status_code in (200, 404), path
        assert answer.status_code == 404 or bad == "..", path  # a client resolves the dots by itself
    posts = [(f"/v1/videos/{bad}/remix", {"prompt": "a"}), (f"{ENDPOINT}/{bad}/test", {})]
    for path, body in posts:
        assert (await client.post(path, json=body)).status_code in (404, 405, 422), path
    for name in ("file_id", "id"):
        answer = await client.post("/v1/videos", json={"prompt": "a", "input_reference": {name: bad}})
        assert answer.status_code == 400
    assert await nothing_is_left(client)


@pytest.mark.parametrize("name", ["Prefer", "Cancel-After", "Idempotency-Key", "x-stainless-retry-count", "Range"])
@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"9" * 5000, b"wait=" + b"9" * 400, "٣".encode(), b"-1"])
async def test_headers(client: httpx.AsyncClient, name: str, value: bytes) -> None:
    body = {"prompt": "a", "image": data_url(b"GIF89a")}
    for path in ("/v1/text-to-video", "/v1/videos"):
        assert (await client.post(path, json=body, headers={name: value})).status_code in (400, 422)
    assert (await client.get(f"/v1/videos/{VIDEO}/content", headers={name: value})).status_code == 404
