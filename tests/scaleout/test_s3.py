"""Videos in a bucket: the store's own S3 client against a real S3 server."""

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from service import storage as storage_module
from service.jobs.connection import connect
from service.jobs.policy import JobPolicy
from service.jobs.record import JobRecords
from service.jobs.retention import sweep
from service.settings import Settings
from service.storage import NotStored, Storage, StorageUnavailable, video_key
from tests.scaleout.deployment import CREDENTIALS, Deployment, S3Server

KEY = video_key("video_" + "s" * 26, 1)


@pytest.fixture
def storage(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Storage:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return Storage.open(Settings(**{**s3.settings(), "storage_url": f"s3://videos/{time.monotonic_ns()}"}))


async def read(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in storage.stream(key, start, end)])


async def test_objects_are_put_in_parts_and_read_by_range(storage: Storage, tmp_path: Path) -> None:
    content = os.urandom(11_000_003)  # more than one part of an upload
    path = tmp_path / "made.mp4"
    path.write_bytes(content)
    storage.put_file(path, KEY)
    assert await storage.size(KEY) == len(content)
    assert await read(storage, KEY) == content
    assert await read(storage, KEY, 5_242_870, 5_242_890) == content[5_242_870:5_242_890]
    assert await read(storage, KEY, len(content) - 3) == content[-3:]
    storage.fetch(KEY, tmp_path / "fetched.mp4")
    assert (tmp_path / "fetched.mp4").read_bytes() == content
    await storage.probe()

    await storage.delete(KEY)
    storage.remove(KEY)
    with pytest.raises(NotStored):
        await read(storage, KEY)
    with pytest.raises(NotStored):
        await storage.size(KEY)


async def test_a_presigned_url_needs_no_credentials_and_tells_the_type(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    path.write_bytes(b"0123456789")
    storage.put_file(path, KEY)

    url = await storage.presigned(KEY, timedelta(minutes=1))
    async with httpx.AsyncClient(trust_env=False) as client:
        part = await client.get(url, headers={"Range": "bytes=2-4"})

    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-type"] == "video/mp4"


async def test_the_sweeper_finds_what_nothing_points_to(
    storage: Storage, deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "made.mp4"
    path.write_bytes(b"film")
    storage.put_file(path, KEY)
    assert deployment.settings.redis_url is not None
    records = JobRecords(connect(deployment.settings.redis_url), JobPolicy(retention_seconds=7200))
    try:
        now = datetime.now(UTC)
        assert await sweep(records, storage, now + timedelta(hours=1)) == 0
        assert await sweep(records, storage, now + timedelta(hours=3)) == 1
    finally:
        await records.close()
    assert [found async for found in storage.objects("videos")] == []


async def test_a_server_that_is_away_is_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "RETRY_SECONDS", 1)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = S3Server(tmp_path)
    server.start()
    away = Storage.open(Settings(**server.settings()))
    await away.probe()
    server.part.end(signal.SIGKILL)
    with pytest.raises(StorageUnavailable):
        await away.size(KEY)


async def test_a_bucket_that_is_not_there(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    missing = Storage.open(Settings(storage_url="s3://nothing-here", storage_endpoint=s3.url))
    with pytest.raises((StorageUnavailable, NotStored)):
        await missing.probe()
