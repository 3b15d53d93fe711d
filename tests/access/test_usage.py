"""The ledger of device time: written as jobs end, read by those whom it concerns."""

import re
import time
from datetime import timedelta

import pytest

from service.access.keys import ApiKeys
from service.access.scopes import Scope
from service.access.usage import rows_of, today
from service.jobs import keys as redis_keys
from service.jobs.contract import ErrorCode, JobError
from tests.access.conftest import ClientOf
from tests.api.gateway import MODEL, Bench

JOB = {"prompt": "a ball", "num_frames": 16, "num_inference_steps": 10, "size": "64x64"}
COST = 64 * 64 * 16 * 10 / 1e6


def backdate(bench: Bench, job_id: str, seconds: float) -> None:
    """As if the attempt had begun so long ago."""
    bench.redis.hincrby(redis_keys.job(job_id), "started_ms", -round(seconds * 1000))


async def test_device_seconds_by_key_and_day(client_of: ClientOf, bench: Bench, keys: ApiKeys) -> None:
    (alice, token), (bob, other) = await keys.create(), await keys.create()
    for_alice, for_bob = await client_of(token=token), await client_of(token=other)

    async def start(client: object, seconds: float) -> str:
        job_id = str((await client.post("/v1/text-to-video", json=JOB)).json()["id"])  # type: ignore[attr-defined]
        bench.claim(job_id)
        backdate(bench, job_id, seconds)
        return job_id

    done = await start(for_alice, 20)
    claimed = bench.attempts.claim(done, 1, "bench")
    assert claimed is not None
    bench.complete(claimed, b"film")
    failed = bench.attempts.claim(await start(for_alice, 5), 1, "bench")
    assert failed is not None
    bench.fail(failed)
    theirs = bench.attempts.claim(await start(for_bob, 7), 1, "bench")
    assert theirs is not None
    bench.complete(theirs, b"film")
    waiting = (await for_bob.post("/v1/text-to-video", json=JOB)).json()["id"]
    await for_bob.post(f"/v1/videos/{waiting}/cancel")

    mine = (await for_alice.get("/v1/usage")).json()
    assert [(row["key_id"], row["model"], row["day"]) for row in mine["data"]] == [(alice.id, MODEL, str(today()))]
    assert (mine["total"]["completed"], mine["total"]["failed"], mine["total"]["cancelled"]) == (1, 1, 0)
    assert mine["total"]["device_seconds"] == pytest.approx(25, abs=3)
    assert mine["total"]["cost"] == pytest.approx(COST, rel=0.01)

    operator = await client_of(scopes=[Scope.ADMIN])
    everybody = (await operator.get("/v1/usage")).json()
    assert {row["key_id"] for row in everybody["data"]} == {alice.id, bob.id}
    assert everybody["total"]["device_seconds"] == pytest.approx(32, abs=4)
    of_bob = (await operator.get("/v1/usage", params={"key_id": bob.id})).json()["data"]
    assert [(row["completed"], row["cancelled"]) for row in of_bob] == [(1, 1)]
    assert of_bob[0]["device_seconds"] == pytest.approx(7, abs=2), "a job that never ran costs nothing"
    assert (await for_alice.get("/v1/usage", params={"key_id": bob.id})).status_code == 403


async def test_lost_attempts_are_booked_apart_and_on_the_job(client_of: ClientOf, bench: Bench) -> None:
    client = await client_of()
    job_id = (await client.post("/v1/text-to-video", json=JOB)).json()["id"]
    lost = bench.claim(job_id)
    backdate(bench, job_id, 10)
    crash = JobError(code=ErrorCode.WORKER_CRASHED, message="crashed", retryable=True)
    assert bench.attempts.retry(lost, crash)
    again = bench.attempts.claim(job_id, 2, "bench")
    assert again is not None and again.device_seconds == pytest.approx(10, abs=2)
    backdate(bench, job_id, 20)
    bench.complete(again, b"film")
    total = (await client.get("/v1/usage")).json()["total"]
    assert total["retried_seconds"] == pytest.approx(10, abs=2)
    assert total["device_seconds"] == pytest.approx(20, abs=2)
    usage = (await client.get(f"/v1/videos/{job_id}")).json()["usage"]
    assert usage["device_seconds"] == pytest.approx(30, abs=3)
    assert usage["run_seconds"] == pytest.approx(20, abs=2)
    assert (total["completed"], total["failed"]) == (1, 0)


async def test_a_repeated_finish_is_booked_once(client_of: ClientOf, bench: Bench) -> None:
    client = await client_of()
    job = bench.claim((await client.post("/v1/text-to-video", json=JOB)).json()["id"])
    result = bench.complete(job, b"film")
    assert bench.attempts.complete(job, result), "the reply was lost, the worker repeats it"
    assert (await client.get("/v1/usage")).json()["total"]["completed"] == 1


async def test_days_are_bounded(client_of: ClientOf) -> None:
    client = await client_of()
    refusals = {
        "start=2026-02-30": 422,
        "start=0": 422,
        "start=2026-W01-1": 422,
        f"start={today()}&end={today() - timedelta(days=1)}": 409,
    }
    for query, status in refusals.items():
        answer = await client.get(f"/v1/usage?{query}")
        assert (answer.status_code, answer.json()["param"]) == (status, "start"), query
    assert (await client.get("/v1/usage?start=2020-01-01")).json()["start"] == str(today() - timedelta(days=399))
    assert (await client.get("/v1/usage?end=0001-01-05")).status_code == 200
    empty = (await client.get("/v1/usage?start=2026-01-01&end=2026-01-31")).json()
    assert (empty["data"], empty["total"]["device_seconds"]) == ([], 0)


async def test_the_ledger_goes_after_its_time(client_of: ClientOf, bench: Bench) -> None:
    client = await client_of()
    job_id = (await client.post("/v1/text-to-video", json=JOB)).json()["id"]
    await client.post(f"/v1/videos/{job_id}/cancel")
    key = redis_keys.usage(int(time.time() // 86_400))
    assert int(str(bench.redis.ttl(key))) == pytest.approx(400 * 86_400, abs=86_400)


def test_what_a_newer_release_books_is_left_out() -> None:
    rows = rows_of(today(), {"|m|completed": "2", "|m|energy": "5", "k|m|device_ms": "1500"})
    assert [(row.key_id, row.completed, row.device_seconds) for row in rows] == [(None, 2, 0.0), ("k", 0, 1.5)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", rows[0].model_dump(mode="json")["day"])
