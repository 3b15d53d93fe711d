"""Look, list, cancel, delete: through every state that a job can have."""

import asyncio
import re

import httpx
import pytest

from service.api.routes import videos
from service.jobs.attempts import Verdict
from service.jobs.contract import ErrorCode
from tests.api.gateway import Bench

UNKNOWN = "video_" + "a" * 26


async def submit(client: httpx.AsyncClient, prompt: str = "a red ball") -> str:
    answer = await client.post("/v1/text-to-video", json={"prompt": prompt})
    assert answer.status_code == 202
    return str(answer.json()["id"])


async def test_a_job_is_seen_through_all_its_states(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    path = f"/v1/videos/{video_id}"
    job = bench.claim(video_id)
    claimed = (await client.get(path)).json()
    bench.step(job, 5, eta_seconds=3.0)
    running = (await client.get(path)).json()
    result = bench.complete(job, b"film" * 100)
    done = (await client.get(path)).json()

    assert (claimed["status"], claimed["attempt"]) == ("in_progress", 1)
    assert claimed["started_at"] >= claimed["created_at"]
    assert (running["stage"], running["step"], running["steps"], running["progress"]) == ("denoising", 5, 20, 25)
    assert 2.5 < running["eta_seconds"] <= 3.0
    assert running["timings"] == {}
    assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
    assert done["completed_at"] >= done["started_at"]
    assert done["expires_at"] - done["completed_at"] == 24 * 3600
    assert done["upscale"] == "bicubic"
    assert done["timings"] == {"denoise": 1.5, "encode": 0.25}
    assert done["usage"]["attempts"] == 1
    assert done["usage"]["run_seconds"] >= 0
    assert (done["output"]["bytes"], done["output"]["sha256"]) == (400, result.sha256)
    assert "path" not in done["output"]


async def test_a_failed_job_is_a_200_with_a_stable_code(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    bench.fail(bench.claim(video_id), ErrorCode.OUT_OF_MEMORY)
    answer = await client.get(f"/v1/videos/{video_id}")

    assert answer.status_code == 200
    assert answer.json()["status"] == "failed"
    assert answer.json()["error"] == {
        "code": "out_of_memory",
        "message": "the device is too small",
        "type": "server_error",
        "param": None,
        "retryable": False,
    }


async def test_queue_position_counts_the_jobs_ahead(client: httpx.AsyncClient, bench: Bench) -> None:
    first, second, third = [await submit(client) for _ in range(3)]

    async def position(video_id: str) -> int | None:
        answer: int | None = (await client.get(f"/v1/videos/{video_id}")).json()["queue_position"]
        return answer

    assert [await position(video) for video in (first, second, third)] == [0, 1, 2]
    bench.claim(first)
    assert [await position(video) for video in (first, second, third)] == [None, 0, 1]


async def test_a_queued_job_is_cancelled_at_once(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    cancelled = (await client.post(f"/v1/videos/{video_id}/cancel")).json()

    assert (cancelled["status"], cancelled["error"]["code"]) == ("cancelled", "cancelled")
    assert bench.attempts.claim(video_id, 1, "bench") is None


async def test_openais_clients_know_no_cancelled(client: httpx.AsyncClient) -> None:
    video_id = await submit(client)
    openai = {"x-stainless-lang": "python"}
    answers = [
        (await client.post(f"/v1/videos/{video_id}/cancel", headers=openai)).json(),
        (await client.get(f"/v1/videos/{video_id}", headers=openai)).json(),
        (await client.get("/v1/videos", headers=openai)).json()["data"][0],
    ]

    assert [(seen["status"], seen["error"]["code"]) for seen in answers] == [("failed", "cancelled")] * 3
    assert (await client.get(f"/v1/jobs/{video_id}", headers=openai)).json()["status"] == "cancelled"
    assert (await client.get(f"/v1/videos/{video_id}")).json()["status"] == "cancelled"


async def test_a_running_job_is_told_to_stop(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    job = bench.claim(video_id)
    assert bench.step(job, 1) is Verdict.GO
    asked = (await client.post(f"/v1/videos/{video_id}/cancel")).json()
    assert (asked["status"], asked["cancel_requested"]) == ("in_progress", True)
    assert bench.step(job, 2) is Verdict.CANCEL
    bench.confirm_cancel(job)

    assert (await client.get(f"/v1/videos/{video_id}")).json()["status"] == "cancelled"


async def test_cancelling_a_finished_job_changes_nothing(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    bench.complete(bench.claim(video_id), b"film")
    answer = await client.post(f"/v1/videos/{video_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "completed")


async def test_deleting_removes_record_and_file(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    result = bench.complete(bench.claim(video_id), b"film")
    path = f"/v1/videos/{video_id}"
    assert await bench.storage.size(result.path) == 4
    deleted = await client.delete(path)

    assert deleted.json() == {"id": video_id, "object": "video.deleted", "deleted": True}
    assert (await client.get(path)).status_code == 404
    assert (await client.get(f"{path}/content")).status_code == 404
    assert (await client.get(f"{path}/events")).status_code == 404
    assert (await client.delete(path)).status_code == 404
    assert (await client.get("/v1/videos")).json()["data"] == []
    assert not list(bench.folder.rglob("*.mp4")) or list(bench.folder.rglob("*.mp4")) == [bench.folder / "upload.mp4"]


async def test_deleting_a_queued_job_cancels_it(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)

    assert (await client.delete(f"/v1/videos/{video_id}")).json()["deleted"] is True
    assert bench.attempts.claim(video_id, 1, "bench") is None


async def test_deleting_a_running_job_waits_for_its_worker(client: httpx.AsyncClient, bench: Bench) -> None:
    video_id = await submit(client)
    job = bench.claim(video_id)
    deleting = asyncio.create_task(client.delete(f"/v1/videos/{video_id}"))
    while bench.step(job, 3) is not Verdict.CANCEL:
        await asyncio.sleep(0.01)
    bench.confirm_cancel(job)

    assert (await deleting).json()["deleted"] is True
    assert (await client.get(f"/v1/videos/{video_id}")).status_code == 404


async def test_deleting_a_job_whose_worker_does_not_leave_it(
    client: httpx.AsyncClient, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "LEAVE_SECONDS", 0.05)
    video_id = await submit(client)
    job = bench.claim(video_id)
    early = await client.delete(f"/v1/videos/{video_id}")
    assert bench.step(job, 3) is Verdict.CANCEL
    bench.confirm_cancel(job)
    late = await client.delete(f"/v1/videos/{video_id}")

    assert (early.status_code, early.json()["code"], early.json()["retryable"]) == (409, "video_still_running", True)
    assert early.headers["retry-after"] == "1"
    assert late.json()["deleted"] is True


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_pages_give_every_video_once(client: httpx.AsyncClient, order: str, limit: int) -> None:
    made = [await submit(client, f"ball {n}") for n in range(5)]
    seen: list[str] = []
    after: str | None = None
    while True:
        query = {"limit": limit, "order": order} | ({"after": after} if after else {})
        page = (await client.get("/v1/videos", params=query)).json()
        ids = [video["id"] for video in page["data"]]
        assert (page["object"], page["first_id"], page["last_id"]) == ("list", ids[0], ids[-1])
        assert len(ids) <= limit
        seen += ids
        after = page["last_id"]
        if not page["has_more"]:
            break

    assert sorted(seen) == sorted(made)
    assert len(seen) == 5


async def test_an_empty_list(client: httpx.AsyncClient) -> None:
    empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}

    assert (await client.get("/v1/videos")).json() == empty
    assert (await client.get("/v1/videos", params={"after": UNKNOWN})).json() == empty


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"order": "sideways"}, "order"),
        ({"after": "x" * 4096}, "after"),
    ],
)
async def test_bad_queries_name_the_parameter(client: httpx.AsyncClient, query: dict[str, str], param: str) -> None:
    answer = await client.get("/v1/videos", params=query)

    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (400, "invalid_field", param)
    assert len(answer.content) < 1000


BAD_IDS = {
    "unknown": UNKNOWN,
    "other prefix": "vid_" + "a" * 26,
    "upper case": UNKNOWN.upper(),
    "short": UNKNOWN[:-1],
    "long": UNKNOWN + "a",
    "4 KB": "video_" + "a" * 4096,
    "newline": UNKNOWN + "%0A",
    "NUL": UNKNOWN + "%00",
    "only NUL": "%00",
    "parent": "..",
    "encoded parent": "%2e%2e",
    "traversal": "..%2f..%2fetc%2fpasswd",
    "backslashes": "..%5c..%5cwindows",
    "unicode slash": "%EF%BC%8F..%EF%BC%8F",
    "bad UTF-8": "%ff%fe",
    "redis glob": "video_*",
    "format": "%25s%25n",
    "space": "%20",
    "emoji": "%F0%9F%90%8E",
}


@pytest.mark.parametrize("name", BAD_IDS)
@pytest.mark.parametrize(
    ("method", "suffix"),
    [("GET", ""), ("DELETE", ""), ("GET", "/content"), ("HEAD", "/content"), ("GET", "/events"), ("POST", "/cancel")],
)
async def test_ids_that_are_none_are_404(client: httpx.AsyncClient, method: str, suffix: str, name: str) -> None:
    answer = await client.request(method, f"/v1/videos/{BAD_IDS[name]}{suffix}")

    # A path that httpx normalises away or that holds a slash names no route; one that names `/v1/` has no GET.
    assert answer.status_code in ((404, 405) if name in ("parent", "encoded parent") else (404,))
    if method != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] in ("video_not_found", "not_found", "method_not_allowed")
        assert len(answer.content) < 500


async def test_ids_cannot_be_guessed(client: httpx.AsyncClient) -> None:
    ids = {await submit(client) for _ in range(20)}

    assert len(ids) == 20
    assert all(re.fullmatch(r"video_[a-z2-7]{26}", video_id) for video_id in ids)


async def test_jobs_is_another_name(client: httpx.AsyncClient) -> None:
    video_id = (await client.post("/v1/text-to-video", json={"prompt": "a ball"})).json()["id"]
    listed = (await client.get("/v1/jobs")).json()["data"]
    cancelled = (await client.post(f"/v1/jobs/{video_id}/cancel")).json()

    assert [job["id"] for job in listed] == [video_id]
    assert (cancelled["id"], cancelled["status"]) == (video_id, "cancelled")
    assert (await client.get(f"/v1/jobs/{video_id}")).json()["error"]["code"] == "cancelled"
    assert (await client.delete(f"/v1/jobs/{video_id}")).json()["deleted"] is True
    assert (await client.get("/v1/jobs/video_x")).status_code == 404
