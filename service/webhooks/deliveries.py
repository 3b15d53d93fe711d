"""What has to be told to whom, and how often it was tried: from the outbox to deliveries, all of it in Redis.

A delivery is at least once: its id, the event's, stays the same however often it is sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service.jobs import keys
from service.jobs.connection import redis_errors
from service.webhooks.endpoints import Endpoint, Endpoints
from service.webhooks.sending import event_body

GROUP = "webhooks"
RETRY_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Pauses between the tries, those that Standard Webhooks recommends."""
LEASE_MS = 60_000
KEPT_SECONDS = 7 * 86_400
KEPT_PER_ENDPOINT = 200
CLAIM = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], 0, string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, name in ipairs(due) do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), name)
end
return due
"""
"""Takes due deliveries for a while; a gateway that dies with them leaves them to the others."""


class Delivery(BaseModel):
    """One event for one endpoint; `status` is pending, delivered, or failed, when all tries are used up.

    Times are unix seconds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: str
    endpoint_id: str
    event_type: str
    body: str
    created_at: int
    status: str = "pending"
    tries: int = 0
    last_tried_at: int = 0
    last_status_code: int = 0
    last_error: str = ""

    @property
    def name(self) -> str:
        return f"{self.event_id}.{self.endpoint_id}"

    @property
    def hash(self) -> dict[Any, Any]:
        return dict(self)

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Self:
        return cls.model_validate(dict(fields))


class Deliveries:
    """Every method raises RedisUnavailable when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._claim = redis.register_script(CLAIM)

    async def prepare(self) -> None:
        """Has the events from now on kept for whoever delivers; called once, and again without effect."""
        with redis_errors():
            try:
                await self.redis.xgroup_create(keys.OUTBOX, GROUP, id="$", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def read_outbox(self, consumer: str, count: int = 100) -> int:
        """Turns events into deliveries; how many events. What a gateway that died had taken is taken over."""
        with redis_errors():
            taken: Any = await self.redis.xautoclaim(keys.OUTBOX, GROUP, consumer, LEASE_MS, count=count)
            fresh: Any = await self.redis.xreadgroup(GROUP, consumer, {keys.OUTBOX: ">"}, count=count)
        rows = [*taken[1], *(row for _, stream in fresh or [] for row in stream)]
        if not rows:
            return 0
        endpoints = await Endpoints(self.redis, None).all()
        for entry_id, event in rows:
            for endpoint in endpoints:
                if event and endpoint.owner == event.get("owner", "") and event["type"] in endpoint.event_types:
                    await self.add(delivery_of(event, endpoint))
            with redis_errors():
                await self.redis.xack(keys.OUTBOX, GROUP, entry_id)
        return len(rows)

    async def add(self, delivery: Delivery) -> None:
        """Makes a delivery due; one that is there already is left as it is."""
        if await self.get(delivery.name) is not None:
            return
        await self.write(delivery, due_ms=0)
        log_key = keys.webhook_log(delivery.endpoint_id)
        with redis_errors():
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.zadd(log_key, {delivery.name: delivery.created_at})
                pipeline.zremrangebyrank(log_key, 0, -KEPT_PER_ENDPOINT - 1)
                pipeline.expire(log_key, KEPT_SECONDS)
                await pipeline.execute()

    async def claim(self, count: int) -> Sequence[Delivery]:
        """Deliveries that are due; they are nobody else's for LEASE_MS."""
        with redis_errors():
            names = cast(Sequence[str], await self._claim(keys=[keys.DELIVERIES], args=[count, LEASE_MS]))
        claimed = []
        for name in names:
            delivery = await self.get(name)
            if delivery is None:
                with redis_errors():
                    await self.redis.zrem(keys.DELIVERIES, name)
            else:
                claimed.append(delivery)
        return claimed

    async def get(self, name: str) -> Delivery | None:
        with redis_errors():
            fields = cast(Mapping[str, str], await self.redis.hgetall(keys.delivery(name)))
        return Delivery.of(fields) if "body" in fields else None

    async def settle(self, delivery: Delivery, status_code: int, error: str, now: float) -> Delivery:
        """Records a try: delivered, to be tried again, or failed for good."""
        tried = delivery.model_copy(
            update={
                "tries": delivery.tries + 1,
                "last_tried_at": int(now),
                "last_status_code": status_code,
                "last_error": error,
            }
        )
        if 200 <= status_code < 300:
            tried = tried.model_copy(update={"status": "delivered"})
            await self.write(tried, due_ms=None)
        elif tried.tries > len(RETRY_SECONDS):
            tried = tried.model_copy(update={"status": "failed"})
            await self.write(tried, due_ms=None)
        else:
            await self.write(tried, due_ms=(now + RETRY_SECONDS[tried.tries - 1]) * 1000)
        return tried

    async def redeliver(self, delivery: Delivery) -> Delivery:
        """Makes a delivery due at once, with all its tries before it."""
        fresh = delivery.model_copy(update={"status": "pending", "tries": 0})
        await self.write(fresh, due_ms=0)
        return fresh

    async def forget(self, delivery: Delivery) -> None:
        """Its endpoint is gone."""
        with redis_errors():
            await self.redis.zrem(keys.DELIVERIES, delivery.name)
            await self.redis.delete(keys.delivery(delivery.name))

    async def latest(self, endpoint: Endpoint, limit: int) -> Sequence[Delivery]:
        """The latest deliveries to an endpoint, newest first."""
        with redis_errors():
            names = cast(Sequence[str], await self.redis.zrange(keys.webhook_log(endpoint.id), 0, limit - 1, desc=True))
        found = [await self.get(name) for name in names]
        return [delivery for delivery in found if delivery is not None]

    async def count(self, result: str) -> None:
        """Adds to the totals that the metrics show."""
        with redis_errors():
            await self.redis.hincrby(keys.TOTALS, f"webhook {result}", 1)

    async def write(self, delivery: Delivery, due_ms: float | None) -> None:
        with redis_errors():
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(keys.delivery(delivery.name), mapping=delivery.hash)
                pipeline.expire(keys.delivery(delivery.name), KEPT_SECONDS)
                if due_ms is None:
                    pipeline.zrem(keys.DELIVERIES, delivery.name)
                else:
                    pipeline.zadd(keys.DELIVERIES, {delivery.name: round(due_ms)})
                await pipeline.execute()


def delivery_of(event: Mapping[str, str], endpoint: Endpoint) -> Delivery:
    created_at = int(event["created_ms"]) // 1000
    subject = event.get("subject", event["job"])  # rows of earlier releases are all of videos
    return Delivery(
        event_id=event["id"],
        endpoint_id=endpoint.id,
        event_type=event["type"],
        body=event_body(event["id"], event["type"], created_at, {"id": subject}),
        created_at=created_at,
    )
