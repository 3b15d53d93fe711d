"""What Prometheus reads from a gateway."""

from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from service.api.app import create_app
from service.jobs.connection import connect
from service.jobs.contract import ErrorCode, JobError, WorkerState
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.api.conftest import bench
from tests.api.gateway import MODEL, Bench
from tests.jobs.examples import example_spec

__all__ = ["bench"]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def submit(client: httpx.AsyncClient) -> str:
    prompt = {"prompt": "a ball", "num_frames": 16}
    return str((await client.post("/v1/text-to-video", json=prompt)).json()["id"])


@pytest.fixture
def queue(settings: Settings) -> dict[str, str]:
    return {"queue": settings.queue_name, "model": MODEL}


async def test_the_queue_and_what_became_of_jobs(
    client: httpx.AsyncClient, bench: Bench, queue: dict[str, str]
) -> None:
    empty = await scrape(client)
    assert value(empty, "lumiere_redis_up") == 1
    assert value(empty, "lumiere_queue_jobs", **queue) == value(empty, "lumiere_queue_oldest_seconds", **queue) == 0

    done, lost, cancelled, waiting = [await submit(client) for _ in range(4)]
    job = bench.claim(lost)
    # a second's delay can be over before a busy machine has asked for the metrics
    bench.attempts.policy = replace(bench.attempts.policy, backoff_seconds=(60.0,))
    crash = JobError(code=ErrorCode.WORKER_CRASHED, message="crashed", retryable=True)
    assert bench.attempts.retry(job, crash)
    job = bench.claim(done)
    bench.redis.hincrby(f"lumiere:job:{done}", "started_ms", -5000)
    bench.complete(job, b"film")
    await client.post(f"/v1/videos/{cancelled}/cancel")
    bench.redis.zincrby(f"lumiere:queue:{queue['queue']}.{MODEL}:since", -9000, waiting)

    seen = await scrape(client)
    assert value(seen, "lumiere_queue_jobs", **queue) == 2
    assert value(seen, "lumiere_queue_oldest_seconds", **queue) == pytest.approx(9, abs=3)
    assert value(seen, "lumiere_queue_cost_megapixels", **queue) > 0
    assert value(seen, "lumiere_jobs_delayed", **queue) == 1
    assert value(seen, "lumiere_jobs_accepted_total") == 4
    assert value(seen, "lumiere_jobs_ended_total", status="completed") == 1
    assert value(seen, "lumiere_jobs_ended_total", status="cancelled") == 1
    assert value(seen, "lumiere_attempts_requeued_total") == 1
    assert value(seen, "lumiere_device_seconds_total") == pytest.approx(5, abs=2)


async def test_jobs_of_other_models_and_queues_are_not_counted(
    client: httpx.AsyncClient, bench: Bench, settings: Settings, queue: dict[str, str]
) -> None:
    elsewhere = Bench(settings.model_copy(update={"queue_name": "elsewhere"}))
    others = JobRecords(connect(str(settings.redis_url)), elsewhere.attempts.policy)
    theirs = [(await others.accept(example_spec())).job.id for _ in range(3)]
    elsewhere.claim(theirs[0])
    crash = JobError(code=ErrorCode.WORKER_CRASHED, message="crashed", retryable=True)
    assert elsewhere.attempts.retry(elsewhere.claim(theirs[1]), crash)
    elsewhere.announce(WorkerState.READY)
    bench.claim(await submit(client))
    await others.close()
    elsewhere.close()

    seen = await scrape(client)

    assert value(seen, "lumiere_jobs_running", **queue) == 1
    assert value(seen, "lumiere_jobs_delayed", **queue) == value(seen, "lumiere_queue_jobs", **queue) == 0
    assert value(seen, "lumiere_workers_warm", **queue) == 0


async def test_requests_by_route_without_ids(client: httpx.AsyncClient) -> None:
    video_id = await submit(client)
    await client.get(f"/v1/videos/{video_id}")
    await client.get(f"/v1/videos/{video_id}")
    await client.get("/nowhere/secret")
    await client.request("BREW", "/nowhere/secret")
    samples = await scrape(client)
    one = {"route": "/v1/videos/{video_id}", "method": "GET"}
    assert value(samples, "lumiere_http_requests_total", **one, status="200") == 2
    assert value(samples, "lumiere_http_request_seconds_count", **one) == 2
    unmatched = {"route": "unmatched", "method": "unmatched"}
    assert value(samples, "lumiere_http_requests_total", **unmatched, status="404") == 2
    assert value(samples, "lumiere_http_requests_in_flight") == 1, "this one"
    text = str(samples)
    assert video_id not in text and "secret" not in text and "BREW" not in text


async def test_two_applications_have_metrics_of_their_own(app: FastAPI, settings: Settings) -> None:
    assert create_app(settings).state.metrics is not app.state.metrics
