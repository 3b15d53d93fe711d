"""What a worker tells of its jobs: metrics on its port, log lines and spans that name the request."""

import json
import socket
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from service.jobs.admission import EVERYBODY, Trace
from service.jobs.connection import connect
from service.jobs.policy import JobPolicy
from service.jobs.record import JobRecords
from service.settings import Settings
from service.stack.serve import free_port
from tests.workers.conftest import WorkerProcess
from tests.workers.watching import scripted, until_ended
from workers.metrics import WorkerMetrics

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def port() -> int:
    return free_port()


def samples(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {f"{s.name} {' '.join(sorted(s.labels.values()))}".strip(): s.value for f in families for s in f.samples}


async def test_metrics_logs_and_spans_of_one_job(
    settings: Settings,
    start_worker: Callable[..., WorkerProcess],
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    blocking: redis.Redis,
    patience: None,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    worker = start_worker(worker_metrics_port=port)
    assert settings.redis_url is not None
    records = JobRecords(connect(settings.redis_url), JobPolicy.of(settings))
    trace = Trace(request_id="req_of_this_test", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")
    accepted = await records.of(EVERYBODY, trace).accept(scripted(steps=3))
    job = await until_ended(records, accepted.job.id)
    assert job.state == "completed"
    await records.close()

    told = until(lambda: samples(port), lambda seen: "lumiere_worker_run_seconds_count complete text-to-video" in seen)
    assert told["lumiere_worker_attempts_total complete text-to-video"] == 1
    assert told["lumiere_worker_wait_seconds_count text-to-video"] == 1
    assert told["lumiere_worker_stage_seconds_count denoise text-to-video"] == 1
    assert told["lumiere_worker_horse_starts_total"] == 1
    assert [told[f"lumiere_worker_device_memory_bytes {kind}"] for kind in ("used", "peak", "total")] == [3e3, 2e3, 4e3]
    assert told["lumiere_worker_state ready"] + told["lumiere_worker_state busy"] == 1

    output = until(
        worker.log.read_text, lambda text: {span["name"] for span in pretty_printed(text)} >= {"queue", "attempt"}
    )
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"')]
    of_job = [line for line in lines if line.get("job_id") == job.id]
    assert len(of_job) >= 2
    assert {(line["request_id"], line["attempt"], line["trace_id"]) for line in of_job} == {
        ("req_of_this_test", 1, TRACE_ID)
    }
    spans = {span["name"]: span for span in pretty_printed(output)}
    assert set(spans) == {"queue", "attempt"}
    for span in spans.values():
        assert span["context"]["trace_id"] == f"0x{TRACE_ID}"
        assert span["parent_id"] == f"0x{SPAN_ID}"
        assert span["attributes"]["lumiere.job"] == job.id
    assert spans["attempt"]["attributes"]["lumiere.outcome"] == "complete"
    assert spans["queue"]["end_time"] <= spans["attempt"]["end_time"]


def until(look: Callable[[], Any], enough: Callable[[Any], bool], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not enough(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    return seen


def pretty_printed(output: str) -> list[dict[str, Any]]:
    """The JSON objects that span several lines: what the console exporter prints, up to one not whole yet."""
    decoder = json.JSONDecoder()
    found, position = [], output.find("{\n")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(output, position)
        except json.JSONDecodeError:
            break
        found.append(value)
        position = output.find("{\n", end)
    return found


def test_a_taken_port_does_not_keep_a_worker_from_working(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        WorkerMetrics().serve(settings.model_copy(update={"worker_metrics_port": taken.getsockname()[1]}))
