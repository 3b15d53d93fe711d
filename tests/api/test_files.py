"""Uploads: taken in by their bytes, given back as they were, listed, used, deleted, forgotten in time."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.jobs.retention import sweep
from tests.api.gateway import Bench
from tests.api.media import data_url, movie, picture


async def upload(client: httpx.AsyncClient, content: bytes, **fields: str) -> dict[str, object]:
    answer = await client.post("/v1/files", files={"file": ("cat.png", content)}, data=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("prefix", ["/v1/files", "/v1/uploads"])
async def test_a_file_comes_back_as_it_was(client: httpx.AsyncClient, prefix: str) -> None:
    content = picture()
    files = {"file": ("../a/c\x7fat.png", content, "video/mp4")}
    answer = await client.post(prefix, files=files, data={"purpose": "masks"})
    file = answer.json()

    assert (file["object"], file["filename"], file["purpose"], file["bytes"]) == (
        "file",
        "cat.png",
        "masks",
        len(content),
    )
    assert (file["media_type"], file["sha256"]) == ("image/png", hashlib.sha256(content).hexdigest())
    assert file["expires_at"] - file["created_at"] == 24 * 3600
    assert (await client.get(f"{prefix}/{file['id']}")).json() == file
    sent = await client.get(f"{prefix}/{file['id']}/content")
    assert (sent.content, sent.headers["content-type"]) == (content, "image/png")
    assert sent.headers["x-content-type-options"] == "nosniff"
    part = await client.get(f"{prefix}/{file['id']}/content", headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")


async def test_a_file_in_json_with_a_life_of_its_own(client: httpx.AsyncClient) -> None:
    body = {"file": data_url(picture("WEBP")), "expires_after": {"anchor": "created_at", "seconds": 600}}
    file = (await client.post("/v1/files", json=body)).json()

    assert (file["media_type"], file["expires_at"] - file["created_at"]) == ("image/webp", 600)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_field"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_media"),
        (b"GIF89a" + bytes(100), "unsupported_media"),
        (b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", "unsupported_media"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "unsupported_media"),
        (b"PK\x03\x04" + bytes(100), "unsupported_media"),
        (b"\x00\x00\x00\x1cftypheic" + bytes(100), "unsupported_media"),
        (b"\x89PNG\r\n\x1a\n", "unsupported_media"),
        (b"%PDF-1.7", "unsupported_media"),
    ],
)
async def test_what_is_no_image_or_video_is_refused(client: httpx.AsyncClient, content: bytes, code: str) -> None:
    answer = await client.post("/v1/files", files={"file": ("cat.png", content, "image/png")})

    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (400, code, "file")
    assert (await client.get("/v1/files")).json()["data"] == []


async def test_pages(client: httpx.AsyncClient) -> None:
    ids = [(await upload(client, picture(color=color), purpose=color))["id"] for color in ("red", "green", "blue")]
    first = (await client.get("/v1/files", params={"limit": 2, "order": "asc"})).json()
    second = (await client.get("/v1/files", params={"after": first["last_id"], "order": "asc"})).json()
    green = (await client.get("/v1/files", params={"purpose": "green"})).json()

    assert ({file["id"] for file in first["data"] + second["data"]}, first["has_more"], second["has_more"]) == (
        set(ids),
        True,
        False,
    )
    assert [file["id"] for file in green["data"]] == [ids[1]]


async def test_a_deleted_file_is_gone(client: httpx.AsyncClient, bench: Bench) -> None:
    file = await upload(client, picture())
    answer = await client.delete(f"/v1/files/{file['id']}")

    assert answer.json() == {"id": file["id"], "object": "file", "deleted": True}
    for path in (f"/v1/files/{file['id']}", f"/v1/files/{file['id']}/content"):
        assert (await client.get(path)).json()["code"] == "file_not_found"
    assert [stored async for stored in bench.storage.objects("uploads")] == []
    assert (await client.get("/v1/files")).json()["data"] == []


async def test_expired_files_are_swept_and_others_stay(
    client: httpx.AsyncClient, bench: Bench, app: FastAPI, tmp_path: Path
) -> None:
    kept, expired = await upload(client, picture()), await upload(client, movie(tmp_path))
    bench.redis.delete(f"lumiere:file:{expired['id']}")  # what its expiry does
    resources = app.state.resources
    now = datetime.now(UTC)

    assert await sweep(resources.records, resources.storage, now + timedelta(hours=23)) == 0
    assert await sweep(resources.records, resources.storage, now + timedelta(hours=25)) == 1
    assert (await client.get(f"/v1/files/{kept['id']}/content")).status_code == 200
    assert [file["id"] for file in (await client.get("/v1/files")).json()["data"]] == [kept["id"]]


@pytest.mark.parametrize("file_id", ["file_a", "..", "%2e%2e%2fsecret", "file_" + "a" * 4000, "file_%00", "vidéo"])
async def test_other_ids_name_nothing(client: httpx.AsyncClient, file_id: str) -> None:
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        assert (await client.get(path)).status_code == 404
