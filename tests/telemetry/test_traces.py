"""A client's trace goes through the gateway into the job; nothing is traced where nothing asks for it."""

import os
import subprocess
import sys

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from service.jobs import keys
from service.telemetry.traces import configure_tracing, current_traceparent
from tests.api.conftest import bench
from tests.api.gateway import Bench

__all__ = ["bench"]


async def test_the_job_knows_its_request_and_the_span_of_it(client: httpx.AsyncClient, bench: Bench) -> None:
    body = {"prompt": "a ball", "num_frames": 16}
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        answer = await client.post("/v1/text-to-video", json=body, headers={"x-request-id": "req-from-outside"})
    record = bench.redis.hgetall(keys.job(answer.json()["id"]))
    assert record["request_id"] == "req-from-outside"
    assert record["traceparent"].split("-")[1] == trace.format_trace_id(span.get_span_context().trace_id)
    untraced = await client.post("/v1/text-to-video", json=body)
    record = bench.redis.hgetall(keys.job(untraced.json()["id"]))
    assert record["request_id"] == untraced.headers["x-request-id"]
    assert record["traceparent"] == current_traceparent() == ""


def test_the_variables_switch_it_on() -> None:
    """In a process of its own: the provider is set once for all."""
    program = (
        "from service.telemetry.traces import configure_tracing, trace\n"
        "print(configure_tracing('x'))\ntrace.get_tracer('t').start_span('seen').end()"
    )
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "console"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True") and '"name": "seen"' in done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_SERVICE_NAME": "lumiere"},
    ],
)
def test_nothing_is_traced_unless_asked_for(environment: dict[str, str]) -> None:
    assert configure_tracing("test", environment) is False
