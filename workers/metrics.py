"""What one worker has done, for Prometheus, on a port of its own where `LUMIERE_WORKER_METRICS_PORT` names one."""

import logging
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from service.jobs.contract import Job, WorkerState
from service.settings import Settings
from workers.messages import DeviceMemory

log = logging.getLogger(__name__)

SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600)


class WorkerMetrics:
    """All metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.attempts = Counter(
            "lumiere_worker_attempts", "Attempts that ended, by how.", ("task", "outcome"), registry=registry
        )
        self.wait = Histogram(
            "lumiere_worker_wait_seconds",
            "From the acceptance of a job to its first start.",
            ("task",),
            buckets=SECONDS,
            registry=registry,
        )
        self.run = Histogram(
            "lumiere_worker_run_seconds", "Of one attempt.", ("task", "outcome"), buckets=SECONDS, registry=registry
        )
        self.stages = Histogram(
            "lumiere_worker_stage_seconds",
            "Of the stages of completed jobs.",
            ("task", "stage"),
            buckets=SECONDS,
            registry=registry,
        )
        self.horse_starts = Counter(
            "lumiere_worker_horse_starts", "Work-horses started: the first, and one for each crash.", registry=registry
        )
        self.state = Gauge("lumiere_worker_state", "1 for the present state.", ("state",), registry=registry)

        self.memory = Gauge(
            "lumiere_worker_device_memory_bytes",
            "Of the worker's GPU: used by all, the most that the worker held, and what there is.",
            ("kind",),
            registry=registry,
        )

    def serve(self, settings: Settings) -> None:
        """Answers on the port of the settings, if there is one. A taken port is told and does no other harm."""
        if not settings.worker_metrics_port:
            return
        try:
            start_http_server(settings.worker_metrics_port, settings.host, self.registry)
        except OSError as error:
            log.error("no metrics on %s port %d: %s", settings.host, settings.worker_metrics_port, error)

    def started(self, job: Job) -> None:
        if job.attempt == 1 and job.started_at is not None:
            self.wait.labels(job.spec.task).observe(max(job.started_at - job.created_at, 0))

    def ended(self, job: Job, outcome: str, seconds: float, timings: Mapping[str, float]) -> None:
        self.attempts.labels(job.spec.task, outcome).inc()
        self.run.labels(job.spec.task, outcome).observe(seconds)
        for stage, spent in timings.items():
            self.stages.labels(job.spec.task, stage).observe(spent)

    def is_now(self, state: WorkerState) -> None:
        for each in WorkerState:
            self.state.labels(each).set(each is state)

    def holds(self, memory: DeviceMemory | None) -> None:
        """Nothing is told of a device without a memory of its own."""
        if memory is not None:
            for kind in ("used", "peak", "total"):
                self.memory.labels(kind).set(getattr(memory, kind))
