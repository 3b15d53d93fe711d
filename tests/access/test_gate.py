"""Who gets in: every route by every kind of key, other people's objects, quotas in the headers."""

import re
import socket
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.access.keys import ApiKeys
from service.access.scopes import Scope, needed_scope
from service.api.app import create_app
from service.settings import Settings
from tests.access.conftest import ClientOf
from tests.api.gateway import Bench, listening

JOB = {"prompt": "a ball", "num_frames": 16}
SOME_VIDEO = "video_" + "a" * 26


def operations(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path that the documentation knows, with ids filled in."""
    return [
        (method.upper(), re.sub(r"\{[^}]+\}", SOME_VIDEO, path))
        for path, operations in app.openapi()["paths"].items()
        for method in operations
        if method in ("get", "post", "put", "patch", "delete")
    ]


async def make(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/text-to-video", json={**JOB, **fields})


async def test_every_route_asks_for_a_key_unless_it_is_public(app: FastAPI, client_of: ClientOf, keys: ApiKeys) -> None:
    record, revoked = await keys.create()
    await keys.revoke(record.id)
    _, expired = await keys.create(lifetime_seconds=-1)
    strangers = [await client_of(token=token) for token in ("", "lum_nonsense", revoked, expired)]
    bodies = set()
    for method, path in operations(app):
        for stranger in strangers:
            answer = await stranger.request(method, path)
            if needed_scope(method, path) is None:
                assert answer.status_code in (200, 404, 503), (method, path)
                continue
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            bodies.add(tuple(sorted((k, str(v)) for k, v in answer.json().items() if k != "request_id")))
    assert len(bodies) == 1, "nobody learns why a key is not taken"
    assert dict(next(iter(bodies)))["code"] == "invalid_api_key"


async def test_every_route_asks_for_its_scope(app: FastAPI, client_of: ClientOf) -> None:
    for method, path in operations(app):
        needed = needed_scope(method, path)
        if needed is None:
            continue
        others = [scope for scope in Scope if scope not in (needed, Scope.ADMIN)]
        refused = await (await client_of(scopes=others)).request(method, path)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope"), (method, path)
        assert needed in refused.json()["detail"]
        for enough in (needed, Scope.ADMIN):
            answer = await (await client_of(scopes=[enough])).request(method, path)
            assert answer.status_code not in (401, 403, 500), (method, path, enough)


async def test_public_paths_are_few(app: FastAPI) -> None:
    public = {path for method, path in operations(app) if needed_scope(method, path) is None}
    assert public <= {"/", "/livez", "/readyz", "/errors", f"/errors/{SOME_VIDEO}"}


async def test_other_peoples_videos_do_not_exist(client_of: ClientOf, bench: Bench, keys: ApiKeys) -> None:
    alice, bob = await client_of(), await client_of()
    path = (await make(alice)).headers["location"]
    job = bench.claim(path.rpartition("/")[2])
    bench.complete(job, b"film")
    for method, below in (
        ("GET", ""),
        ("GET", "/content"),
        ("GET", "/events"),
        ("POST", "/cancel"),
        ("DELETE", ""),
    ):
        answer = await bob.request(method, path + below)
        assert (answer.status_code, answer.json()["code"]) == (404, "video_not_found"), (method, below)
    assert (await bob.get("/v1/videos")).json()["data"] == []
    assert (await bob.get(f"/v1/videos?after={job.id}")).json()["data"] == []
    assert len((await alice.get("/v1/videos")).json()["data"]) == 1
    assert (await alice.get(f"{path}/content")).content == b"film"
    operator = await client_of(scopes=[Scope.ADMIN])
    assert len((await operator.get("/v1/videos")).json()["data"]) == 1


async def test_keys_of_one_owner_share_their_videos(client_of: ClientOf) -> None:
    one, other = await client_of(owner="team"), await client_of(owner="team", scopes=[Scope.VIDEOS_READ])
    path = (await make(one)).headers["location"]
    assert (await other.get(path)).status_code == 200
    assert (await other.delete(path)).status_code == 403


async def test_idempotency_keys_are_the_owners_own(client_of: ClientOf) -> None:
    alice, bob = await client_of(), await client_of()
    headers = {"Idempotency-Key": "order-1"}
    answers = [await who.post("/v1/text-to-video", json=JOB, headers=headers) for who in (alice, bob, alice)]
    ids = [answer.json()["id"] for answer in answers]
    assert ids[0] == ids[2] != ids[1]


async def test_what_is_left_of_the_quotas_is_in_the_headers(client_of: ClientOf, bench: Bench) -> None:
    client = await client_of(requests_per_minute=10, active_jobs=2, cost_per_hour=1000)
    first = await make(client)
    assert first.headers["x-ratelimit-limit-requests"] == "10"
    assert first.headers["x-ratelimit-remaining-requests"] == "9"
    assert re.fullmatch(r"\d+\.\d{3}s", first.headers["x-ratelimit-reset-requests"])
    assert first.headers["x-ratelimit-remaining-jobs"] == "1"
    assert 0 < float(first.headers["x-ratelimit-remaining-cost"]) < 1000
    await make(client)
    refused = await make(client)
    assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (429, "too_many_jobs", True)
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert refused.headers["x-ratelimit-remaining-jobs"] == "0"
    bench.complete(bench.claim(first.json()["id"]), b"film")
    assert (await make(client)).status_code == 202


async def test_requests_beyond_the_rate_wait_two_minutes_at_most(client_of: ClientOf) -> None:
    client = await client_of(requests_per_minute=0.1)
    assert (await make(client)).status_code == 202
    refused = await make(client)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert refused.headers["retry-after"] == "120"
    assert "x-ratelimit-limit-requests" not in (await client.get("/v1/videos")).headers


async def test_the_settings_limit_keys_that_have_no_limits_of_their_own(settings: Settings, keys: ApiKeys) -> None:
    _, plain = await keys.create()
    _, free = await keys.create(active_jobs=0, requests_per_minute=0)
    app = create_app(settings.model_copy(update={"key_active_jobs": 1}))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):

        async def statuses(token: str) -> list[int]:
            headers = {"Authorization": f"Bearer {token}"}
            return [(await client.post("/v1/text-to-video", json=JOB, headers=headers)).status_code for _ in range(2)]

        assert await statuses(plain) == [202, 429]
        assert await statuses(free) == [202, 202]


def test_a_body_without_a_key_is_not_read(settings: Settings) -> None:
    """The answer comes although the body never does."""
    with listening(create_app(settings)) as url:
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port or 0), timeout=20) as connection:
            connection.sendall(
                b"POST /v1/text-to-video HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 200000000\r\n\r\n{"
            )
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    ("origin", "taken"),
    [
        (None, True),
        ("http://localhost", True),
        ("https://evil.example", False),
        ("http://localhost:81", False),
        ("null", False),
    ],
)
async def test_pages_of_other_sites_may_not_use_a_service_without_keys(
    settings: Settings, origin: str | None, taken: bool
) -> None:
    app = create_app(settings.model_copy(update={"auth": "open"}))
    headers = {} if origin is None else {"Origin": origin}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        answer = await client.post("/v1/text-to-video", json=JOB, headers=headers)
        assert answer.status_code == (202 if taken else 400)
        if not taken:
            assert (answer.json()["code"], answer.json()["param"]) == ("invalid_header", "Origin")
        assert (await client.get("/v1/videos", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("127.0.0.1:8000", True),
        ("localhost:8000", True),
        ("demo.localhost", True),
        ("[::1]:8000", True),
        ("192.168.1.7", True),
        ("videos.example.com:8000", True),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("[::1", False),
    ],
)
async def test_names_that_others_lead_here_are_refused_without_keys(settings: Settings, host: str, taken: bool) -> None:
    app = create_app(settings.model_copy(update={"auth": "open", "allowed_hosts": ["videos.example.com"]}))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        answer = await client.get("/v1/models", headers={"Host": host})
    assert answer.status_code == (200 if taken else 421)
    assert taken or (answer.json()["code"], answer.json()["param"]) == ("unknown_host", "Host")


async def test_behind_keys_any_name_will_do(client_of: ClientOf) -> None:
    client = await client_of()
    assert (await client.get("/v1/models", headers={"Host": "evil.example"})).status_code == 200


@pytest.mark.parametrize(
    ("auth", "host", "required"),
    [
        ("auto", "127.0.0.1", False),
        ("auto", "::1", False),
        ("auto", "localhost", False),
        ("auto", "0.0.0.0", True),
        ("auto", "::", True),
        ("auto", "10.1.2.3", True),
        ("auto", "videos.example", True),
        ("open", "0.0.0.0", False),
        ("keys", "127.0.0.1", True),
    ],
)
def test_keys_are_asked_for_where_others_can_reach_the_service(auth: str, host: str, required: bool) -> None:
    assert Settings(auth=auth, host=host).keys_required is required
