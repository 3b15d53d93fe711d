"""Webhooks from the end of a job to a real receiver, read by OpenAI's own client."""

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from standardwebhooks import Webhook, WebhookVerificationError

from service.api.app import create_app
from service.settings import Settings
from service.webhooks import deliveries as schedule
from tests.api.gateway import CARD, Bench, listening, write_card

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NOBODY = "http://127.0.0.1:1"
"""An origin that is listed and does not answer."""


@dataclass
class Receiver:
    """A server that keeps what it gets; it answers with the statuses in turn, then 204."""

    origin: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)

    def wait(self, count: int, seconds: float = 30) -> list[tuple[dict[str, str], str]]:
        deadline = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"{len(self.got)} of {count} came"
            time.sleep(0.02)
        return self.got


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = receiver.answers.pop(0) if receiver.answers else 204
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{receiver.origin}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.origin = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(redis_url: str, tmp_path: Path, receiver: Receiver) -> Settings:
    model = write_card(tmp_path / "model", {**CARD, "tasks": ["text-to-video", "stylize"]})
    return Settings(
        redis_url=redis_url, data_dir=tmp_path / "data", model_dirs=[model], webhook_allow=[receiver.origin, NOBODY]
    )


@pytest.fixture
def sdk(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client


def finish(sdk: openai.OpenAI, bench: Bench, how: Callable[[Any], object] | None = None) -> str:
    """A job that has ended."""
    video = sdk.videos.create(prompt="a ball")
    job = bench.claim(video.id)
    if how is None:
        bench.complete(job, b"film")
    else:
        how(job)
    return video.id


def add(sdk: openai.OpenAI, receiver: Receiver, *events: str) -> Any:
    types: Any = list(events) or ["video.completed", "video.failed"]
    return sdk.webhooks.create(name="mine", url=f"{receiver.origin}/hook", event_types=types)


def test_the_end_of_a_video_is_told_and_verified(sdk: openai.OpenAI, bench: Bench, receiver: Receiver) -> None:
    endpoint = add(sdk, receiver)
    completed = finish(sdk, bench)
    failed = finish(sdk, bench, bench.fail)
    finish(sdk, bench, bench.confirm_cancel)  # of no interest to this endpoint

    events = {}
    for headers, body in receiver.wait(2):
        event = sdk.webhooks.unwrap(body, headers, secret=endpoint.signing_secret)
        assert headers["content-type"] == "application/json"
        assert headers["webhook-id"] == event.id
        assert headers["host"] == receiver.origin.removeprefix("http://")
        events[event.data.id] = event.type  # type: ignore[union-attr]
    assert events == {completed: "video.completed", failed: "video.failed"}
    headers, body = receiver.got[0]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        sdk.webhooks.unwrap(body.replace("video_", "video-"), headers, secret=endpoint.signing_secret)
    time.sleep(1)
    assert len(receiver.got) == 2
    assert bench.redis.hget("lumiere:totals", "webhook delivered") == "2"


def test_the_end_of_a_style_is_an_event_of_its_own(
    sdk: openai.OpenAI, url: str, bench: Bench, receiver: Receiver
) -> None:
    endpoint = add(sdk, receiver, "video.completed", "style.completed")
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")
    files = {"image": ("style.png", picture.getvalue())}
    style = httpx.post(f"{url}/v1/styles", data={"name": "mine"}, files=files, trust_env=False).json()
    bench.complete(bench.claim(style["job"]), b"weights")

    headers, body = receiver.wait(1)[0]
    event: Any = sdk.webhooks.unwrap(body, headers, secret=endpoint.signing_secret)
    assert (event.type, event.data.id) == ("style.completed", style["id"])


def test_management_by_the_client(sdk: openai.OpenAI, receiver: Receiver) -> None:
    first, second = add(sdk, receiver), add(sdk, receiver, "video.cancelled")

    assert first.object == "webhook_endpoint"
    assert first.signing_secret.startswith("whsec_")
    assert first.signing_secret_hint.endswith(first.signing_secret[-4:])
    assert [endpoint.id for endpoint in sdk.webhooks.list(limit=1)] == [first.id, second.id]
    assert getattr(sdk.webhooks.retrieve(first.id), "signing_secret", None) is None
    assert {"video.completed", "video.failed"} <= set(sdk.webhooks.event_types.list().data)
    changed = sdk.webhooks.update(first.id, name="yours", event_types=["video.failed"])
    assert (changed.name, changed.event_types, changed.url) == ("yours", ["video.failed"], first.url)
    gone = sdk.webhooks.delete(first.id)
    assert (gone.deleted, gone.object) == (True, "webhook_endpoint.deleted")
    with pytest.raises(openai.NotFoundError) as refusal:
        sdk.webhooks.retrieve(first.id)
    assert refusal.value.code == "webhook_not_found"


def test_rotation_and_test(sdk: openai.OpenAI, receiver: Receiver) -> None:
    endpoint = add(sdk, receiver)
    kept = sdk.webhooks.rotate_secret(endpoint.id, keep_old_secret_active_for_24_hours=True)
    result = sdk.webhooks.test(endpoint.id, event_type="video.completed")
    headers, body = receiver.wait(1)[0]

    assert (result.status_code, result.success, result.webhook_endpoint_id) == (204, True, endpoint.id)
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (endpoint.signing_secret, kept.signing_secret):
        assert sdk.webhooks.unwrap(body, headers, secret=secret).type == "video.completed"
    fresh = sdk.webhooks.rotate_secret(endpoint.id)
    sdk.webhooks.test(endpoint.id, event_type="video.failed")
    headers, body = receiver.wait(2)[1]
    assert Webhook(fresh.signing_secret).verify(body, headers)["type"] == "video.failed"
    for secret in (endpoint.signing_secret, kept.signing_secret):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers)


def test_refused_deliveries_are_tried_again(
    sdk: openai.OpenAI, bench: Bench, receiver: Receiver, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "RETRY_SECONDS", (0, 0))
    endpoint = add(sdk, receiver)
    receiver.answers += [500, 302]
    finish(sdk, bench)
    receiver.wait(3)

    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert all("elsewhere" not in body for _, body in receiver.got), "redirects are not followed"
    receiver.answers += [500, 500, 500]
    finish(sdk, bench)
    receiver.wait(6)
    with httpx.Client(base_url=url, trust_env=False) as http:
        path = f"/v1/webhook_endpoints/{endpoint.id}/deliveries"
        given_up, delivered = settled_deliveries(http, path)
        assert (given_up["status"], given_up["tries"], given_up["last_status_code"]) == ("failed", 3, 500)
        assert (delivered["status"], delivered["tries"], delivered["last_status_code"]) == ("delivered", 3, 204)
        again = http.post(f"{path}/{given_up['event_id']}/redeliver").json()
        assert (again["status"], again["tries"]) == ("pending", 0)
        receiver.wait(7)
        unknown = http.post(f"{path}/evt_{'a' * 26}/redeliver")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "webhook_not_found")


def settled_deliveries(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Those that are done with; the ones that were given up come first."""
    deadline = time.monotonic() + 20
    rows: list[dict[str, Any]] = http.get(path).json()["data"]
    while any(row["status"] == "pending" for row in rows):
        assert time.monotonic() < deadline, rows
        time.sleep(0.05)
        rows = http.get(path).json()["data"]
    return sorted(rows, key=lambda row: row["status"] != "failed")


def test_an_endpoint_that_is_gone_is_removed(sdk: openai.OpenAI, bench: Bench, receiver: Receiver) -> None:
    endpoint = add(sdk, receiver)
    receiver.answers += [410]
    finish(sdk, bench)
    receiver.wait(1)
    deadline = time.monotonic() + 20
    while list(sdk.webhooks.list()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(openai.NotFoundError):
        sdk.webhooks.retrieve(endpoint.id)


async def test_events_of_a_dead_gateway_are_delivered_by_another(
    bench: Bench, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.jobs.connection import connect
    from service.webhooks.deliveries import Deliveries
    from service.webhooks.endpoints import Endpoints
    from service.webhooks.run import run_webhooks
    from service.webhooks.targets import parse_allow_list

    assert settings.redis_url is not None
    redis = connect(settings.redis_url)
    deliveries = Deliveries(redis)
    await deliveries.prepare()
    await Endpoints(redis, None).create(name="a", url=f"{receiver.origin}/x", event_types=["video.completed"])
    event = {"id": f"evt_{'a' * 26}", "type": "video.completed", "job": "video_x", "created_ms": "1000", "owner": ""}
    bench.redis.xadd("lumiere:outbox", event)  # type: ignore[arg-type]
    bench.redis.xreadgroup("webhooks", "dead", {"lumiere:outbox": ">"})  # and it dies
    monkeypatch.setattr(schedule, "LEASE_MS", 100)
    stop = asyncio.Event()
    task = asyncio.create_task(run_webhooks(redis, parse_allow_list([receiver.origin]), stop))
    async with asyncio.timeout(20):
        while not receiver.got:
            await asyncio.sleep(0.05)
    stop.set()
    await task
    await redis.aclose()

    assert json.loads(receiver.got[0][1])["data"] == {"id": "video_x"}


def test_a_process_of_its_own_sends_in_place_of_the_gateway(
    settings: Settings, bench: Bench, receiver: Receiver
) -> None:
    quiet = settings.model_copy(update={"webhooks_in_gateway": False})
    with listening(create_app(quiet)) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as sdk:
        endpoint = add(sdk, receiver)
        video_id = finish(sdk, bench)
        delivered = bench.redis.exists("lumiere:deliveries")  # whoever delivers reads the outbox first
        environment = {
            **os.environ,
            "LUMIERE_REDIS_URL": str(settings.redis_url),
            "LUMIERE_WEBHOOK_ALLOW": ",".join(settings.webhook_allow),
        }
        process = subprocess.Popen([sys.executable, "-m", "service.webhooks.main"], env=environment)
        try:
            ((headers, body),) = receiver.wait(1)
        finally:
            process.terminate()
            code = process.wait(20)

    assert not delivered
    assert sdk.webhooks.unwrap(body, headers, secret=endpoint.signing_secret).data.id == video_id  # type: ignore[union-attr]
    assert code == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"url": "https://evil.example.com/"}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": "hello"}, "url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["batch.completed"]}, "event_types.0"),
        ({"name": ""}, "name"),
        ({"secret": "mine"}, "secret"),
    ],
)
async def test_bad_endpoints_are_refused(
    client: httpx.AsyncClient, receiver: Receiver, fields: dict[str, Any], param: str
) -> None:
    body = {"name": "a", "url": f"{receiver.origin}/x", "event_types": ["video.failed"], **fields}
    answer = await client.post("/v1/webhook_endpoints", json=body)

    assert (answer.status_code, answer.json()["param"]) == (400, param)
    assert (await client.get("/v1/webhook_endpoints")).json()["data"] == []


async def test_what_can_not_be_reached(client: httpx.AsyncClient, bench: Bench) -> None:
    body = {"name": "a", "url": f"{NOBODY}/x", "event_types": ["video.failed"]}
    path = f"/v1/webhook_endpoints/{(await client.post('/v1/webhook_endpoints', json=body)).json()['id']}"
    silent = await client.post(f"{path}/test")
    bench.redis.hset(f"lumiere:webhook:{path.rsplit('/', 1)[1]}", "url", "http://127.0.0.1:2/x")
    no_longer_listed = await client.post(f"{path}/test")

    assert (silent.status_code, silent.json()["code"]) == (424, "webhook_unreachable")
    assert (no_longer_listed.status_code, no_longer_listed.json()["param"]) == (400, "url")
