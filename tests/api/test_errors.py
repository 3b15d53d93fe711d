"""Every code of the table can be provoked and is documented; every answer has the one shape."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI

from service.api import body, error_codes
from service.api.error_codes import ERRORS, JOB_ERRORS
from service.api.routes import videos
from service.jobs import keys
from service.jobs.contract import ErrorCode
from service.settings import Settings
from tests.api.gateway import CARD, Bench, write_card
from tests.api.media import picture

UNKNOWN = "/v1/videos/video_" + "a" * 26
SUBMIT = "/v1/text-to-video"


class Scene:
    """What a provocation may use."""

    def __init__(self, client: httpx.AsyncClient, bench: Bench, settings: Settings, patch: pytest.MonkeyPatch) -> None:
        self.client = client
        self.bench = bench
        self.settings = settings
        self.patch = patch

    async def post(self, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        return await self.client.post(SUBMIT, json={"prompt": "a ball", **fields}, headers=headers)

    async def new(self) -> str:
        return str((await self.post()).json()["id"])

    async def finished(self) -> str:
        video_id = await self.new()
        self.bench.complete(self.bench.claim(video_id), b"film")
        return f"/v1/videos/{video_id}"

    async def raw(self, content: Any, media_type: str = "application/json") -> httpx.Response:
        return await self.client.post(SUBMIT, content=content, headers={"Content-Type": media_type})


async def reuse_a_key(scene: Scene) -> httpx.Response:
    await scene.post(headers={"Idempotency-Key": "k"})
    return await scene.post(headers={"Idempotency-Key": "k"}, seed=1)


async def fill_the_queue(scene: Scene) -> httpx.Response:
    for _ in range(scene.settings.max_queued_jobs):
        await scene.post()
    return await scene.post()


async def read_an_unfinished_video(scene: Scene) -> httpx.Response:
    return await scene.client.get(f"/v1/videos/{await scene.new()}/content")


async def delete_a_running_video(scene: Scene) -> httpx.Response:
    video_id = await scene.new()
    scene.bench.claim(video_id)
    scene.patch.setattr(videos, "LEAVE_SECONDS", 0.05)
    return await scene.client.delete(f"/v1/videos/{video_id}")


async def read_a_cancelled_video(scene: Scene) -> httpx.Response:
    video_id = await scene.new()
    await scene.client.post(f"/v1/videos/{video_id}/cancel")
    return await scene.client.get(f"/v1/videos/{video_id}/content")


async def read_a_removed_video(scene: Scene) -> httpx.Response:
    path = await scene.finished()
    shutil.rmtree(scene.settings.data_dir / "videos")
    return await scene.client.get(f"{path}/content")


async def read_beyond_the_end(scene: Scene) -> httpx.Response:
    return await scene.client.get(f"{await scene.finished()}/content", headers={"Range": "bytes=4-"})


async def stall(scene: Scene) -> httpx.Response:
    scene.patch.setattr(body, "MAX_BODY_SECONDS", 0.05)

    async def slow() -> Any:
        yield b'{"prompt'
        await asyncio.sleep(5)

    return await scene.raw(slow())


async def break_a_record(scene: Scene) -> httpx.Response:
    video_id = await scene.new()
    scene.bench.redis.hset(keys.job(video_id), "spec", "secret words that are no JSON")
    return await scene.client.get(f"/v1/videos/{video_id}")


async def take_redis_away(scene: Scene) -> httpx.Response:
    scene.bench.redis.config_set("maxmemory", "1")
    try:
        return await scene.post()
    finally:
        scene.bench.redis.config_set("maxmemory", "256mb")


async def break_the_storage(scene: Scene) -> httpx.Response:
    path = await scene.finished()
    film = next((scene.settings.data_dir / "videos").rglob("*.mp4"))
    film.unlink()
    film.symlink_to(film)  # a loop: neither there nor missing
    return await scene.client.get(f"{path}/content")


FORM = "multipart/form-data; boundary=x"
PROVOCATIONS: dict[str, Callable[[Scene], Awaitable[httpx.Response]]] = {
    "invalid_json": lambda scene: scene.raw(b"{"),
    "invalid_form": lambda scene: scene.client.post("/v1/files", content=b"--y", headers={"Content-Type": FORM}),
    "not_supported": lambda scene: scene.client.post(
        "/v1/videos/extensions", data={"prompt": "a", "seconds": "4"}, files={"video": picture()}
    ),
    "invalid_header": lambda scene: scene.post(headers={"Idempotency-Key": "a b"}),
    "not_found": lambda scene: scene.client.get("/v2/videos"),
    "video_not_found": lambda scene: scene.client.get(UNKNOWN),
    "webhooks_disabled": lambda scene: scene.client.post(
        "/v1/webhook_endpoints", json={"name": "a", "url": "https://a.example.com/", "event_types": ["video.failed"]}
    ),
    "webhook_not_found": lambda scene: scene.client.get("/v1/webhook_endpoints/we_1"),
    "file_not_found": lambda scene: scene.client.get("/v1/files/file_abcdefghijklmnopqrstuvwxyz"),
    "model_not_found": lambda scene: scene.client.get("/v1/models/sora-2"),
    "video_has_no_content": read_a_cancelled_video,
    "method_not_allowed": lambda scene: scene.client.put(UNKNOWN),
    "request_timeout": stall,
    "video_not_ready": read_an_unfinished_video,
    "fields_conflict": lambda scene: scene.client.get("/v1/usage?start=2026-02-01&end=2026-01-01"),
    "video_still_running": delete_a_running_video,
    "video_expired": read_a_removed_video,
    "body_too_large": lambda scene: scene.raw(b" " * 300_000),
    "file_too_large": lambda scene: scene.client.post("/v1/files", files={"file": picture() + bytes(4096)}),
    "unsupported_media": lambda scene: scene.client.post(
        "/v1/image-to-video", data={"prompt": "a"}, files={"image": b"hello"}
    ),
    "unsupported_task": lambda scene: scene.client.post("/v1/stylize", json={"prompt": "a", "style": "b"}),
    "unsupported_media_type": lambda scene: scene.raw(b"{}", "text/plain"),
    "range_not_satisfiable": read_beyond_the_end,
    "invalid_field": lambda scene: scene.post(fps=1),
    "missing_field": lambda scene: scene.raw(b"{}"),
    "unknown_field": lambda scene: scene.post(colour="red"),
    "unknown_model": lambda scene: scene.post(model="sora-2"),
    "idempotency_key_reused": reuse_a_key,
    "queue_full": fill_the_queue,
    "internal_error": break_a_record,
    "redis_unavailable": take_redis_away,
    "storage_unavailable": break_the_storage,
    "not_ready": lambda scene: scene.client.get("/readyz"),
    "unknown_host": lambda scene: scene.client.get("/livez", headers={"Host": "evil.example"}),
}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    card = write_card(tmp_path / "able", {**CARD, "tasks": ["text-to-video", "image-to-video"]})
    return settings.model_copy(update={"max_queued_jobs": 3, "max_upload_bytes": 4096, "model_dirs": [card]})


OF_WEBHOOKS = {"webhook_unreachable"}
"""Provoked in test_webhooks, with a gateway that may send some."""
OF_STYLES = {"style_not_found", "style_name_taken", "style_not_ready"}
"""Provoked in test_styles."""
OF_KEYS = {"invalid_api_key", "invalid_link", "missing_scope", "quota_exceeded", "too_many_jobs"}
"""Provoked in tests/access, with a gateway that asks for keys."""


def test_every_code_is_provoked() -> None:
    assert set(PROVOCATIONS) | OF_KEYS | OF_STYLES | OF_WEBHOOKS == set(ERRORS)


@pytest.mark.parametrize("code", PROVOCATIONS)
async def test_every_code_has_the_one_shape(
    code: str, client: httpx.AsyncClient, bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await PROVOCATIONS[code](Scene(client, bench, settings, monkeypatch))
    problem = answer.json()
    kind = ERRORS[code]

    assert problem["code"] == code
    assert answer.status_code == problem["status"] == kind.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert problem["title"] == kind.title
    assert problem["retryable"] is kind.retryable
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    assert set(problem) - {"errors", "checks"} == {
        "type",
        "title",
        "status",
        "detail",
        "code",
        "param",
        "retryable",
        "request_id",
        "error",
    }
    openai = problem["error"]
    assert (openai["message"], openai["param"], openai["code"]) == (problem["detail"], problem["param"], code)
    assert openai["type"] == {403: "permission_error", 429: "rate_limit_error"}.get(
        kind.status, "server_error" if kind.status >= 500 else "invalid_request_error"
    )
    assert (await client.get(problem["type"])).json()["code"] == code
    if kind.retryable and kind.status != 408:
        assert 1 <= int(answer.headers["retry-after"]) <= 120


async def test_a_defect_is_logged_and_tells_nothing(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = (await client.post(SUBMIT, json={"prompt": "a ball"})).json()["id"]
    bench.redis.hset(keys.job(video_id), "spec", "secret words that are no JSON")
    with structlog.testing.capture_logs() as logs:
        answer = await client.get(f"/v1/videos/{video_id}")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "ValidationError" not in answer.text
    assert [log for log in logs if log["event"] == "unexpected_error"]


def test_the_documentation_shows_the_tables(root: Path) -> None:
    page = (root / "docs" / "errors.md").read_text(encoding="utf-8")

    assert page == error_codes.markdown(), "run: python -m service.api.error_codes > docs/errors.md"


def test_every_failure_of_a_job_is_explained() -> None:
    assert set(JOB_ERRORS) == set(ErrorCode)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (UNKNOWN, "GET, DELETE"),
        (f"{UNKNOWN}/content", "GET, HEAD"),
        (f"{UNKNOWN}/cancel", "POST"),
        ("/v1/videos", "GET, POST"),
        (SUBMIT, "POST"),
        ("/livez", "GET, HEAD"),
    ],
)
async def test_allow_lists_all_methods(client: httpx.AsyncClient, path: str, methods: str) -> None:
    answer = await client.patch(path)

    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


async def test_the_table_over_http(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/errors")).json()

    assert [row["code"] for row in listed] == list(ERRORS)
    assert (await client.get("/errors/nope")).status_code == 404


async def test_an_app_that_was_not_started_is_a_500(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/v1/models")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
