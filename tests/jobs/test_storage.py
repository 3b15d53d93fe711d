"""Videos under keys: whole or not at all, by range, and never outside the store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import Settings
from service.storage import NotStored, Storage, StorageUnavailable, video_key

KEY = video_key("video_" + "a" * 26, 1)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.open(Settings(data_dir=tmp_path / "data"))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "made.mp4"
    path.write_bytes(os.urandom(1_000_003))
    return path


async def read(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in storage.stream(key, start, end)])


async def test_what_is_put_is_read(storage: Storage, video: Path, tmp_path: Path) -> None:
    storage.put_file(video, KEY)
    content = video.read_bytes()
    assert (tmp_path / "data" / KEY).read_bytes() == content
    assert await storage.size(KEY) == len(content)
    assert await read(storage, KEY) == content
    chunks = [len(chunk) async for chunk in storage.stream(KEY)]
    assert len(chunks) > 2 and max(chunks) <= 512 * 1024


@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 15), (999_999, None), (1_000_002, 1_000_003), (7, 7), (9, 3)])
async def test_ranges(storage: Storage, video: Path, start: int, end: int | None) -> None:
    storage.put_file(video, KEY)
    assert await read(storage, KEY, start, end) == video.read_bytes()[start:end]


async def test_what_is_not_there(storage: Storage) -> None:
    with pytest.raises(NotStored):
        await storage.size(KEY)
    with pytest.raises(NotStored):
        await read(storage, KEY)
    await storage.delete(KEY)
    storage.remove(KEY)


async def test_deleting_leaves_nothing(storage: Storage, video: Path, tmp_path: Path) -> None:
    storage.put_file(video, KEY)
    storage.put_file(video, video_key("video_" + "b" * 26, 1))
    assert [found.bytes async for found in storage.objects("videos")] == [1_000_003] * 2
    await storage.delete(KEY)
    storage.remove(video_key("video_" + "b" * 26, 1))
    assert [found async for found in storage.objects("videos")] == []
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


UNSAFE = [
    "",
    "a",
    ".",
    "a/..",
    "/etc/passwd",
    "../x",
    "videos/../../x",
    "videos//x",
    "videos/.hidden",
    "videos/%2e%2e/x",
]
UNSAFE += ["videos/a/", "videos/ä", "videos/a b", "v/" + "x" * 600, "videos/a\0b", "videos/a\n"]


@pytest.mark.parametrize("key", UNSAFE)
async def test_unsafe_keys_are_refused(storage: Storage, video: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        storage.put_file(video, key)
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.size(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await read(storage, key)
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.delete(key)


async def test_probe(storage: Storage, tmp_path: Path) -> None:
    await storage.probe()
    assert list((tmp_path / "data").rglob("*")) == []


async def test_a_store_that_cannot_be_written_says_so(tmp_path: Path, video: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(StorageUnavailable):
        Storage.open(Settings(data_dir=blocked))


async def test_no_room_is_its_own_error_and_leaves_no_half_video(tmp_path: Path, video: Path) -> None:
    program = f"""
import resource, signal, sys
from pathlib import Path
from service.storage import Storage, StorageFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
storage = Storage.in_folder(Path({str(tmp_path / "data")!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    storage.put_file(Path({str(video)!r}), {KEY!r})
except StorageFull as error:
    print("full:", error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("full:"), done
    assert not (tmp_path / "data" / KEY).exists()


async def test_other_stores_by_url(tmp_path: Path, video: Path) -> None:
    folder = Storage.open(Settings(storage_url=f"file://{tmp_path}/elsewhere"))
    folder.put_file(video, KEY)
    assert (tmp_path / "elsewhere" / KEY).exists()
    bucket = Storage.open(Settings(storage_url="s3://bucket", storage_endpoint="http://127.0.0.1:9"))
    assert bucket.folder is None
