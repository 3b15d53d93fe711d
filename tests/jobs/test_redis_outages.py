"""Accepted jobs outlive Redis; an unreachable Redis is an error soon, never a hang."""

import asyncio
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.jobs import keys
from service.jobs.attempts import Attempts, Verdict
from service.jobs.connection import RedisFull, RedisUnavailable, connect, connect_blocking
from service.jobs.contract import JobState
from service.jobs.policy import JobPolicy
from service.jobs.reaper import run_reaper
from service.jobs.record import JobRecords
from tests.jobs.examples import example_result, example_spec
from tests.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="lumiere-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop(signal.SIGKILL)


async def test_accepted_jobs_survive_kill_9_of_redis(server: RedisServer) -> None:
    records = JobRecords(connect(server.url), JobPolicy())
    spec = example_spec()
    accepted = [(await records.accept(spec, idempotency_key=f"key-{n}")).job for n in range(50)]
    server.stop(signal.SIGKILL)
    server.start()
    await asyncio.sleep(0.05)  # the loop hears that its connections have ended
    for job in accepted:
        assert await records.get(job.id) == job
    again = await records.accept(spec, idempotency_key="key-7")
    assert again.replayed and again.job.id == accepted[7].id
    with connect_blocking(server.url) as client:
        assert client.llen(keys.QueueKeys("lumiere.lumiere-mini").rq_list) == 50
    await records.close()


async def test_a_dead_or_hung_redis_is_an_error_soon(server: RedisServer) -> None:
    records = JobRecords(connect(server.url), JobPolicy())
    job = (await records.accept(example_spec())).job
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    asked = time.monotonic()
    with pytest.raises(RedisUnavailable):
        await records.get(job.id)
    assert time.monotonic() - asked < 3
    server.process.send_signal(signal.SIGCONT)
    server.stop(signal.SIGKILL)
    asked = time.monotonic()
    for call in (records.get(job.id), records.accept(example_spec()), records.cancel(job.id), records.ping()):
        with pytest.raises(RedisUnavailable):
            await call
    for call in (records.list(), records.live_workers(), records.reap(), records.redispatch()):
        with pytest.raises(RedisUnavailable):
            await call
    assert time.monotonic() - asked < 1
    server.start()
    assert await records.get(job.id) == job, "the same client works again"
    await records.close()


async def test_a_redis_without_memory_accepts_nothing_and_leaves_nothing_behind(server: RedisServer) -> None:
    records = JobRecords(connect(server.url), JobPolicy())
    with connect_blocking(server.url) as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(RedisUnavailable):
            await records.accept(example_spec())
        client.config_set("maxmemory", "0")
        assert client.keys("*") == []
    assert (await records.accept(example_spec())).job.state is JobState.QUEUED
    await records.close()


async def test_what_was_accepted_ends_in_a_redis_that_is_nearly_full(server: RedisServer) -> None:
    policy = JobPolicy(reap_interval_seconds=0.05)
    records = JobRecords(connect(server.url), policy)
    job = (await records.accept(example_spec())).job
    with connect_blocking(server.url) as client:
        client.set("ballast", 20_000_000 * "x")
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", round(used * 1.04))
        await records.watch_memory()
        with pytest.raises(RedisFull):
            await records.accept(example_spec())
        attempts = Attempts(client, policy)
        claimed = attempts.claim(job.id, 1, "worker")
        assert claimed is not None and attempts.beat(claimed) is Verdict.GO
        assert attempts.complete(claimed, example_result(claimed))
        client.config_set("maxmemory", 2 * used)
        await records.watch_memory()
        while client.exists(keys.FULL):
            await asyncio.sleep(0.01)
    assert (await records.accept(example_spec())).job.state is JobState.QUEUED
    await records.close()


async def test_the_reaper_outlives_an_outage(server: RedisServer) -> None:
    records = JobRecords(connect(server.url), JobPolicy(reap_interval_seconds=0.05))
    stop = asyncio.Event()
    reaper = asyncio.create_task(run_reaper(records, stop))
    await asyncio.sleep(0.2)
    server.stop(signal.SIGKILL)
    await asyncio.sleep(0.3)
    server.start()
    with connect_blocking(server.url) as client:
        before = client.hget(keys.REAPER, "seen_ms")
        deadline = time.monotonic() + 5
        while client.hget(keys.REAPER, "seen_ms") == before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    stop.set()
    await asyncio.wait_for(reaper, 5)
    await records.close()
