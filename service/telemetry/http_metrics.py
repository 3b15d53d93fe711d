"""Counts and times requests by route, method and status; paths with ids in them never become labels."""

import os
import time
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import METRICS_FOLDER

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60)
UNMATCHED = "unmatched"
STREAMS = ("/v1/videos/{video_id}/events",)
"""They last as long as their job, which would say nothing about the gateway."""


class HttpMetrics:
    """ASGI middleware; the application is a FastAPI one, which leaves its route in the scope."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        labels = ("route", "method", "status")
        self.requests = Counter("lumiere_http_requests", "Requests answered.", labels, registry=registry)
        self.seconds = Histogram(
            "lumiere_http_request_seconds",
            "From the first byte of the request to the last one of the answer; streams of events apart.",
            ("route", "method"),
            buckets=BUCKETS,
            registry=registry,
        )
        self.requests_of = cache(self.requests.labels)
        self.seconds_of = cache(self.seconds.labels)
        self.in_flight = Gauge(
            "lumiere_http_requests_in_flight",
            "Requests being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self.in_flight.track_inprogress():
                await self.app(scope, receive, send_noted)
        finally:
            route = route_of(scope)
            method = scope["method"] if route != UNMATCHED else UNMATCHED
            self.requests_of(route, method, status).inc()
            if route not in STREAMS:
                self.seconds_of(route, method).observe(time.perf_counter() - started)


def route_of(scope: Scope) -> str:
    """The path of the route with its parameters' names, the same for all ids."""
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def exposition(registry: CollectorRegistry) -> bytes:
    """What Prometheus reads: of this process, or of all of its gateway where there are several."""
    if METRICS_FOLDER not in os.environ:
        return generate_latest(registry)
    of_all = CollectorRegistry()
    MultiProcessCollector(of_all)  # type: ignore[no-untyped-call]
    return generate_latest(of_all)
