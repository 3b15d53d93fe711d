"""The task of a gateway that delivers webhooks. Any number of gateways may run it at once."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Sequence

import httpx
from redis.asyncio import Redis

from service.jobs.connection import RedisUnavailable
from service.webhooks.deliveries import Deliveries, Delivery
from service.webhooks.endpoints import Endpoints
from service.webhooks.sending import NotDelivered, make_client, send
from service.webhooks.targets import Origin

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
AT_ONCE = 8
GONE = 410


async def run_webhooks(redis: Redis, allowed: Sequence[Origin], stop: asyncio.Event) -> None:
    """Delivers until `stop` is set; waits while Redis is away."""
    deliveries = Deliveries(redis)
    consumer = f"{socket.gethostname()}-{os.getpid()}"
    prepared = False
    async with make_client() as client:
        while not stop.is_set():
            busy = False
            try:
                if not prepared:
                    await deliveries.prepare()
                    prepared = True
                busy = await deliver_due(deliveries, client, allowed, consumer)
            except RedisUnavailable as error:
                log.warning("webhooks are delivered later: %s", error)
            if not busy:
                try:
                    await asyncio.wait_for(stop.wait(), POLL_SECONDS)
                except TimeoutError:
                    continue


async def deliver_due(
    deliveries: Deliveries, client: httpx.AsyncClient, allowed: Sequence[Origin], consumer: str
) -> bool:
    """One pass; whether there was something to do."""
    read = await deliveries.read_outbox(consumer)
    due = await deliveries.claim(AT_ONCE)
    results = await asyncio.gather(*(attempt(deliveries, delivery, client, allowed) for delivery in due))
    for result in filter(None, results):
        await deliveries.count(result)
    return bool(read or due)


async def attempt(
    deliveries: Deliveries, delivery: Delivery, client: httpx.AsyncClient, allowed: Sequence[Origin]
) -> str:
    """Tries one delivery; what became of it."""
    endpoints = Endpoints(deliveries.redis, None)
    endpoint = await endpoints.get(delivery.endpoint_id)
    if endpoint is None:
        await deliveries.forget(delivery)
        return ""
    status_code, error = 0, ""
    try:
        status_code = await send(client, endpoint, delivery.event_id, delivery.body, allowed)
    except NotDelivered as reason:
        error = str(reason)
    settled = await deliveries.settle(delivery, status_code, error, time.time())
    if status_code == GONE:  # Standard Webhooks: the receiver wants no more
        log.info("endpoint %s answered 410 and is removed", endpoint.id)
        await endpoints.delete(endpoint)
    return {"pending": "retried"}.get(settled.status, settled.status)
