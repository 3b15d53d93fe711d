"""The MP4 over HTTP: whole, in parts, conditionally, and not before it is there."""

import hashlib
import random

import httpx
import pytest

from tests.api.gateway import Bench

FILM = random.Random(7).randbytes(700_001)
ETAG = f'"{hashlib.sha256(FILM).hexdigest()}"'


async def submit(client: httpx.AsyncClient) -> str:
    return str((await client.post("/v1/text-to-video", json={"prompt": "a red ball"})).json()["id"])


@pytest.fixture
async def path(client: httpx.AsyncClient, bench: Bench) -> str:
    """Where the film can be had."""
    video_id = await submit(client)
    bench.complete(bench.claim(video_id), FILM)
    return f"/v1/videos/{video_id}/content"


async def test_whole(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.status_code == 200
    assert answer.content == FILM
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(FILM))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == ETAG
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == f'attachment; filename="{path.split("/")[3]}.mp4"'


async def test_head_gives_the_same_headers_and_no_body(client: httpx.AsyncClient, path: str) -> None:
    head, whole = await client.head(path), await client.get(path)
    part = await client.head(path, headers={"Range": "bytes=0-9"})

    def lasting(answer: httpx.Response) -> dict[str, str]:
        return {
            name: value
            for name, value in answer.headers.items()
            if name not in ("x-request-id", "openai-processing-ms")
        }

    assert (head.status_code, head.content) == (200, b"")
    assert lasting(head) == lasting(whole)
    assert part.headers["content-length"] == str(len(FILM))


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299999", 100, 300_000),
        ("bytes=700000-", 700_000, 700_001),
        ("bytes=650000-9999999", 650_000, 700_001),
        ("bytes=-5", 699_996, 700_001),
        ("bytes=-99999999", 0, 700_001),
    ],
)
async def test_a_part(client: httpx.AsyncClient, path: str, header: str, start: int, end: int) -> None:
    answer = await client.get(path, headers={"Range": header})

    assert answer.status_code == 206
    assert answer.content == FILM[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/700001"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("header", ["bytes=700001-", "bytes=9999999-99999999", "bytes=-0"])
async def test_a_part_that_is_not_there(client: httpx.AsyncClient, path: str, header: str) -> None:
    answer = await client.get(path, headers={"Range": header})

    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */700001"


@pytest.mark.parametrize(
    "header", ["bytes=0-1,5-6", "bytes=9-3", "chapters=1-2", "bytes=abc", "bytes=" + "0-1," * 2000]
)
async def test_ranges_that_mean_nothing_give_the_whole(client: httpx.AsyncClient, path: str, header: str) -> None:
    answer = await client.get(path, headers={"Range": header})

    assert (answer.status_code, len(answer.content)) == (200, len(FILM))


async def test_conditional_requests(client: httpx.AsyncClient, path: str) -> None:
    same = await client.get(path, headers={"If-None-Match": f'"other", {ETAG}'})
    other = await client.get(path, headers={"If-None-Match": '"other"'})
    resumed = await client.get(path, headers={"Range": "bytes=-4", "If-Range": ETAG})
    changed = await client.get(path, headers={"Range": "bytes=-4", "If-Range": '"other"'})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", ETAG)
    assert other.status_code == 200
    assert (resumed.status_code, resumed.content) == (206, FILM[-4:])
    assert (changed.status_code, changed.content) == (200, FILM)


async def test_not_before_it_is_there(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    path = f"/v1/videos/{video_id}/content"
    queued = await client.get(path)
    job = bench.claim(video_id)
    bench.step(job, 10, eta_seconds=7.0)
    running = await client.get(path)
    bench.step(job, 11, eta_seconds=7000.0)
    slow = await client.get(path)
    bench.complete(job, FILM)
    done = await client.get(path)

    assert (queued.status_code, queued.json()["code"], queued.json()["retryable"]) == (409, "video_not_ready", True)
    assert queued.headers["retry-after"] == "2"
    assert "in_progress, 50 %" in running.json()["detail"]
    assert running.headers["retry-after"] in ("6", "7")
    assert slow.headers["retry-after"] == "120"
    assert done.content == FILM


async def test_never_when_the_job_failed_or_was_cancelled(client: httpx.AsyncClient, bench: Bench) -> None:
    failed, cancelled = await submit(client), await submit(client)
    bench.fail(bench.claim(failed))
    await client.post(f"/v1/videos/{cancelled}/cancel")

    for video_id, state in ((failed, "failed"), (cancelled, "cancelled")):
        answer = await client.get(f"/v1/videos/{video_id}/content")
        assert (answer.status_code, answer.json()["code"]) == (404, "video_has_no_content")
        assert state in answer.json()["detail"]
        assert answer.json()["retryable"] is False


async def test_a_file_that_was_removed_is_gone(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    result = bench.complete(bench.claim(video_id), FILM)
    bench.storage.remove(result.path)
    answer = await client.get(f"/v1/videos/{video_id}/content")

    assert (answer.status_code, answer.json()["code"]) == (410, "video_expired")


async def test_variants(client: httpx.AsyncClient, path: str) -> None:
    names = ("video", "thumbnail", "spritesheet", "subtitles")
    video, thumbnail, sheet, other = [await client.get(path, params={"variant": name}) for name in names]

    assert video.content == FILM
    assert (thumbnail.headers["content-type"], sheet.headers["content-type"]) == ("image/webp", "image/jpeg")
    assert thumbnail.content.endswith(b"-thumbnail.webp") and sheet.content.endswith(b"-spritesheet.jpg")
    assert len({answer.headers["etag"] for answer in (video, thumbnail, sheet)}) == 3
    assert (other.status_code, other.json()["param"]) == (400, "variant")


async def test_videos_of_before_there_were_stills(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    result = bench.complete(bench.claim(video_id), FILM)
    before = result.model_copy(update={"thumbnail": "", "spritesheet": ""})
    bench.redis.hset(f"lumiere:job:{video_id}", "result", before.model_dump_json())
    answer = await client.get(f"/v1/videos/{video_id}/content", params={"variant": "thumbnail"})

    assert (answer.status_code, answer.json()["code"]) == (404, "video_has_no_content")


async def test_over_a_real_connection(url: str, bench: Bench) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        video_id = await submit(client)
        bench.complete(bench.claim(video_id), FILM)
        path = f"/v1/videos/{video_id}/content"
        whole = await client.get(path)
        part = await client.get(path, headers={"Range": "bytes=10-19"})
        head = await client.head(path)
        same = await client.get(path, headers={"If-None-Match": ETAG})
        # The connection still works after answers without a body.
        again = await client.get(path, headers={"Range": "bytes=-1"})

    assert whole.content == FILM
    assert (part.status_code, part.content) == (206, FILM[10:20])
    assert (head.content, head.headers["content-length"]) == (b"", str(len(FILM)))
    assert same.status_code == 304
    assert again.content == FILM[-1:]
