"""OpenTelemetry traces that cross the queue: the span of a request is the parent of the span of its job's attempt.

Nothing is traced unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_TRACES_EXPORTER=console`) is set and the extra
`lumiere[tracing]` is installed. FastAPI makes the spans of requests by itself.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.jobs.contract import Job

log = logging.getLogger(__name__)

PROPAGATOR = TraceContextTextMapPropagator()
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def configure_tracing(service_name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Sends this process's spans where `OTEL_…` say; False where they say nothing or the packages are missing."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp")
    wanted = exporter == "console" or (exporter == "otlp" and any(environment.get(name) for name in ENDPOINTS))
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

        sink: SpanExporter
        if exporter == "console":
            sink = ConsoleSpanExporter()
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            sink = OTLPSpanExporter()
    except ImportError as error:
        log.warning("nothing is traced although OTEL_… are set: %s; install lumiere[tracing]", error)
        return False
    name = environment.get("OTEL_SERVICE_NAME", service_name)
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(sink))
    trace.set_tracer_provider(provider)
    return True


def current_traceparent() -> str:
    """The present span as a W3C `traceparent`; empty where nothing is traced."""
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def attempt_span(job: Job) -> Iterator[Span]:
    """The span of the attempt that a claimed job is in, under the span of the request that asked for the job.

    Beside it a span `queue` lasts from the acceptance of the job to the start of its first attempt.
    """
    tracer = trace.get_tracer("lumiere.worker")
    parent = PROPAGATOR.extract({"traceparent": job.traceparent}) if job.traceparent else None
    attributes: dict[str, str | int] = {
        "lumiere.job": job.id,
        "lumiere.attempt": job.attempt,
        "lumiere.task": job.spec.task,
        "lumiere.model": job.spec.model,
    }
    if job.attempt == 1 and job.started_at is not None:
        waiting = tracer.start_span("queue", parent, start_time=nanoseconds(job.created_at), attributes=attributes)
        waiting.end(nanoseconds(job.started_at))
    with tracer.start_as_current_span("attempt", parent, kind=SpanKind.CONSUMER, attributes=attributes) as span:
        yield span


def note_outcome(span: Span, outcome: str, error: str | None, timings: Mapping[str, float]) -> None:
    """How the attempt ended, and the seconds of its stages."""
    span.set_attribute("lumiere.outcome", outcome)
    for stage, seconds in timings.items():
        span.set_attribute(f"lumiere.seconds.{stage}", seconds)
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error))


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
