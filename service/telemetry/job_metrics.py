"""What the job system is doing, read from Redis when it is asked for: every gateway tells the same."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.asyncio import Redis

from service.jobs import keys
from service.jobs.connection import redis_errors
from service.jobs.policy import WORKER_TTL_SECONDS

ENDINGS = ("completed", "failed", "cancelled")
WEBHOOKS = "webhook "
"""Totals of this name are deliveries by result: `webhook delivered`."""


@dataclass(frozen=True, slots=True)
class JobSystem:
    """One look at a queue and at the totals since its Redis was set up."""

    queue: str
    waiting: int
    oldest_seconds: float
    waiting_cost: float
    delayed: int
    running: int
    warm_workers: int
    outbox: int
    totals: Mapping[str, float]


async def look(redis: Redis, queue_name: str) -> JobSystem:
    """Raises RedisUnavailable."""
    queue = keys.QueueKeys(queue_name)
    with redis_errors():
        seconds, microseconds = await redis.time()
        now = seconds * 1000 + microseconds / 1000
        async with redis.pipeline(transaction=True) as pipeline:
            pipeline.zcard(queue.waiting)
            pipeline.zrange(queue.since, 0, 0, withscores=True)
            pipeline.get(queue.cost)
            pipeline.zcard(keys.DELAYED)
            pipeline.zcard(keys.LEASES)
            pipeline.zcount(queue.workers, now - WORKER_TTL_SECONDS * 1000, "+inf")
            pipeline.xlen(keys.OUTBOX)
            pipeline.hgetall(keys.TOTALS)
            waiting, oldest, cost, delayed, running, workers, outbox, totals = await pipeline.execute()
    return JobSystem(
        queue=queue_name,
        waiting=waiting,
        oldest_seconds=max(now - oldest[0][1], 0) / 1000 if oldest else 0.0,
        waiting_cost=float(cost or 0),
        delayed=delayed,
        running=running,
        warm_workers=workers,
        outbox=outbox,
        totals={name: float(amount) for name, amount in totals.items()},
    )


class JobCollector(Collector):
    """The metrics of one look; None is a Redis that does not answer."""

    def __init__(self, seen: JobSystem | None) -> None:
        self.seen = seen

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("lumiere_redis_up", "Whether Redis answers.", value=float(self.seen is not None))
        if self.seen is None:
            return
        seen = self.seen
        gauges = {
            "lumiere_queue_jobs": ("Jobs that wait.", seen.waiting),
            "lumiere_queue_oldest_seconds": ("How long the oldest job has waited.", seen.oldest_seconds),
            "lumiere_queue_cost_megapixels": ("Megapixels to be denoised for the jobs that wait.", seen.waiting_cost),
            "lumiere_jobs_delayed": ("Jobs that wait for their next attempt after a failure.", seen.delayed),
            "lumiere_jobs_running": ("Jobs that a worker runs.", seen.running),
            "lumiere_workers_warm": ("Workers with a warm model.", seen.warm_workers),
            "lumiere_outbox_events": ("Events kept for webhooks.", seen.outbox),
        }
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=["queue"])
            gauge.add_metric([seen.queue], value)
            yield gauge
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
