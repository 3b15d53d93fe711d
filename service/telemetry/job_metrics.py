"""What the job system is doing, read from Redis when it is asked for: every gateway tells the same."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.jobs import keys
from service.jobs.connection import redis_errors
from service.jobs.record import JobRecords

ENDINGS = ("completed", "failed", "cancelled")
WEBHOOKS = "webhook "
"""Totals of this name are deliveries by result: `webhook delivered`."""


@dataclass(frozen=True, slots=True)
class ModelQueue:
    """One look at the jobs of one model."""

    model: str
    waiting: int
    oldest_seconds: float
    waiting_cost: float
    delayed: int
    running: int
    warm_workers: int


@dataclass(frozen=True, slots=True)
class JobSystem:
    """One look at the queues of all models, and at the totals since its Redis was set up."""

    queue: str
    models: Sequence[ModelQueue]
    outbox: int
    totals: Mapping[str, float]


async def look(records: JobRecords, models: Sequence[str]) -> JobSystem:
    """Raises RedisUnavailable."""
    counts = await records.census(models)
    with redis_errors():
        async with records.redis.pipeline(transaction=True) as pipeline:
            pipeline.xlen(keys.OUTBOX)
            pipeline.hgetall(keys.TOTALS)
            outbox, totals = await pipeline.execute()
    return JobSystem(
        queue=records.policy.queue_name,
        models=[
            ModelQueue(model, int(waiting), float(oldest_ms) / 1000, float(cost), int(delayed), int(running), int(warm))
            for model, (waiting, oldest_ms, cost, delayed, running, warm) in zip(models, counts, strict=True)
        ],
        outbox=outbox,
        totals={name: float(amount) for name, amount in totals.items()},
    )


GAUGES: Mapping[str, tuple[str, Callable[[ModelQueue], float]]] = {
    "lumiere_queue_jobs": ("Jobs that wait.", lambda seen: seen.waiting),
    "lumiere_queue_oldest_seconds": ("How long the oldest job has waited.", lambda seen: seen.oldest_seconds),
    "lumiere_queue_cost_megapixels": (
        "Megapixels to be denoised for the jobs that wait.",
        lambda seen: seen.waiting_cost,
    ),
    "lumiere_jobs_delayed": ("Jobs that wait for their next attempt after a failure.", lambda seen: seen.delayed),
    "lumiere_jobs_running": ("Jobs that a worker runs.", lambda seen: seen.running),
    "lumiere_workers_warm": ("Workers that hold the model warm.", lambda seen: seen.warm_workers),
}


class JobCollector(Collector):
    """The metrics of one look; None is a Redis that does not answer."""

    def __init__(self, seen: JobSystem | None) -> None:
        self.seen = seen

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("lumiere_redis_up", "Whether Redis answers.", value=float(self.seen is not None))
        if self.seen is None:
            return
        seen = self.seen
        for name, (text, read) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["queue", "model"])
            for of_model in seen.models:
                gauge.add_metric([seen.queue, of_model.model], read(of_model))
            yield gauge
        yield GaugeMetricFamily("lumiere_outbox_events", "Events kept for webhooks.", value=seen.outbox)
        total = seen.totals
        yield CounterMetricFamily("lumiere_jobs_accepted", "Jobs accepted.", value=total.get("accepted", 0))
        ended = CounterMetricFamily("lumiere_jobs_ended", "Jobs that ended, by how.", labels=["status"])
        for status in ENDINGS:
            ended.add_metric([status], total.get(status, 0))
        yield ended
        yield CounterMetricFamily(
            "lumiere_attempts_requeued", "Attempts that were lost or handed back.", value=total.get("requeued", 0)
        )
        yield CounterMetricFamily(
            "lumiere_device_seconds", "Time that jobs have had a worker.", value=total.get("device_ms", 0) / 1000
        )
        webhooks = CounterMetricFamily("lumiere_webhook_deliveries", "Deliveries, by result.", labels=["result"])
        for name, amount in total.items():
            if name.startswith(WEBHOOKS):
                webhooks.add_metric([name.removeprefix(WEBHOOKS)], amount)
        yield webhooks
