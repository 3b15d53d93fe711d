"""What every request gets: an id, a line in the log, and nothing of its content in either."""

import json
import logging

import httpx
import pytest
import structlog

from service.telemetry.logs import configure_logging
from tests.api.gateway import Bench


async def test_an_id_is_made(client: httpx.AsyncClient) -> None:
    ids = {(await client.get(path)).headers["x-request-id"] for path in ("/livez", "/nope", "/v1/models", "/docs")}

    assert len(ids) == 4
    assert all(request_id.startswith("req_") for request_id in ids)


@pytest.mark.parametrize("given", ["abc", "3f2b-11.7_x", "x" * 128])
async def test_a_clients_own_id_is_kept(client: httpx.AsyncClient, given: str) -> None:
    assert (await client.get("/nope", headers={"x-request-id": given})).json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "{}", "a\tb", "ä"])
async def test_a_strange_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/nope", headers={"x-request-id": given.encode("latin-1")})  # type: ignore[dict-item]

    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_line_per_request_without_what_was_asked(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        answer = await client.post(
            "/v1/text-to-video?token=hush", json={"prompt": "my secret"}, headers={"Idempotency-Key": "key-1"}
        )
    lines = [log for log in logs if log["event"] == "request"]

    assert len(lines) == 1
    assert lines[0]["request_id"] == answer.headers["x-request-id"]
    assert (lines[0]["method"], lines[0]["path"], lines[0]["status"]) == ("POST", "/v1/text-to-video", 202)
    assert lines[0]["ms"] > 0
    assert lines[0]["bytes"] == len(answer.content)
    assert not any(word in str(logs) for word in ("secret", "hush", "key-1"))


async def test_a_hostile_path_stays_one_line(
    client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str], bench: Bench
) -> None:
    before = structlog.get_config()
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logging("info")
        await client.get("/v1/videos/x%0A%7B%22event%22:%22forged%22%7D%E2%80%AE" + "y" * 5000)
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
    lines = [line for line in capfd.readouterr().err.splitlines() if "service.api.access" in line]

    assert len(lines) == 1
    assert lines[0].isascii()
    assert len(lines[0]) < 2000
    assert json.loads(lines[0])["event"] == "request"


async def test_the_index_leads_on(client: httpx.AsyncClient) -> None:
    index = (await client.get("/")).json()

    for path in index.values():
        assert (await client.get(path)).status_code in (200, 503)
    assert (await client.get("/docs")).status_code == 200
