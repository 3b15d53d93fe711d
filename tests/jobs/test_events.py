"""Followers of a job's events: snapshot, replay, one shared subscription, outages."""

import asyncio
import tempfile
import time
from pathlib import Path

import pytest
import redis

from service.jobs import keys
from service.jobs.attempts import Attempts, Progress
from service.jobs.connection import RedisUnavailable, connect, connect_blocking
from service.jobs.contract import EventName, Job, JobEvent
from service.jobs.events import JobNotFound, follow
from service.jobs.policy import JobPolicy
from service.jobs.record import JobRecords
from tests.jobs.examples import example_result, example_spec
from tests.redis_server import RedisServer


@pytest.fixture
def attempts(blocking: redis.Redis) -> Attempts:
    return Attempts(blocking, JobPolicy())


async def collect(records: JobRecords, job_id: str, last_event_id: str | None = None) -> list[JobEvent]:
    return [event async for event in follow(records.redis, job_id, last_event_id)]


class Follower:
    """Follows a job in a task of its own."""

    def __init__(self, records: JobRecords, job_id: str, last_event_id: str | None = None) -> None:
        self.events: list[JobEvent] = []
        self.task = asyncio.create_task(self.follow(records, job_id, last_event_id))

    async def follow(self, records: JobRecords, job_id: str, last_event_id: str | None) -> None:
        async for event in follow(records.redis, job_id, last_event_id):
            self.events.append(event)

    async def begun(self) -> None:
        """Returns once the first event is there."""
        while not self.events and not self.task.done():
            await asyncio.sleep(0.005)

    async def end(self) -> list[JobEvent]:
        await asyncio.wait_for(self.task, 20)
        return self.events


async def start(records: JobRecords, attempts: Attempts) -> Job:
    job = attempts.claim((await records.accept(example_spec())).job.id, 1, "w")
    assert job is not None
    return job


def step(attempts: Attempts, job: Job, number: int) -> None:
    attempts.beat(job, Progress("denoise", number, 4, 20 * number, 1.0, True))


async def test_a_follower_sees_a_snapshot_then_everything_to_the_end(records: JobRecords, attempts: Attempts) -> None:
    job = await start(records, attempts)
    step(attempts, job, 1)
    follower = Follower(records, job.id)
    await follower.begun()
    for number in (2, 3, 4):
        step(attempts, job, number)
    attempts.complete(job, example_result(job))
    events = await follower.end()
    assert [event.event for event in events] == [EventName.STATE] + [EventName.PROGRESS] * 3 + [EventName.STATE]
    assert [event.data["step"] for event in events] == [1, 2, 3, 4, 4]
    assert [event.data["status"] for event in events] == ["in_progress"] * 4 + ["completed"]
    assert [event.data["progress"] for event in events] == [20, 40, 60, 80, 100]
    assert events[1].data["eta_seconds"] == 1.0 and events[1].data["elapsed_seconds"] >= 0
    assert len({event.id for event in events}) == 5


async def test_replay_continues_behind_the_last_event_seen(records: JobRecords, attempts: Attempts) -> None:
    job = await start(records, attempts)
    for number in (1, 2, 3):
        step(attempts, job, number)
    attempts.complete(job, example_result(job))
    everything = await collect(records, job.id, "0-0")
    assert [event.data["step"] for event in everything] == [0, 0, 1, 2, 3, 3]
    for position, event in enumerate(everything[:-1]):
        assert await collect(records, job.id, event.id) == everything[position + 1 :]
    (again,) = await asyncio.wait_for(collect(records, job.id, everything[-1].id), 10)
    assert again.data["status"] == "completed", "a follower that came too late still learns the end"
    for nonsense in ("", "abc", "1-1-1", "-", "$"):
        (snapshot,) = await collect(records, job.id, nonsense)
        assert snapshot.data["status"] == "completed"


async def test_an_ended_job_is_one_snapshot(records: JobRecords) -> None:
    job = (await records.accept(example_spec())).job
    await records.cancel(job.id)
    (event,) = await collect(records, job.id)
    assert (event.data["status"], event.data["error"]["code"]) == ("cancelled", "cancelled")


async def test_an_unknown_job_is_an_error(records: JobRecords) -> None:
    with pytest.raises(JobNotFound):
        await collect(records, "video_" + "a" * 26)


async def test_a_deleted_job_ends_its_followers(records: JobRecords, attempts: Attempts, blocking: redis.Redis) -> None:
    job = await start(records, attempts)
    follower = Follower(records, job.id)
    await follower.begun()
    blocking.delete(keys.job(job.id), keys.events(job.id))
    with pytest.raises(JobNotFound):
        await follower.end()


async def test_a_hundred_followers_share_one_subscription(
    records: JobRecords, attempts: Attempts, blocking: redis.Redis
) -> None:
    jobs = [await start(records, attempts) for _ in range(5)]
    followers = [Follower(records, jobs[i % 5].id) for i in range(100)]
    for follower in followers:
        await follower.begun()
    subscribed = [client for client in blocking.client_list() if int(client["sub"]) > 0]
    assert len(subscribed) == 1
    for number in (1, 2, 3):
        for job in jobs:
            step(attempts, job, number)
        await asyncio.sleep(0.02)
    for job in jobs:
        attempts.complete(job, example_result(job))
    for follower in followers:
        assert [event.data["step"] for event in await follower.end()] == [0, 1, 2, 3, 3]
    assert len(blocking.client_list()) <= 66
    deadline = time.monotonic() + 5
    while any(int(client["sub"]) for client in blocking.client_list()):  # the last follower unsubscribes
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_the_end_is_seen_fast(records: JobRecords, attempts: Attempts) -> None:
    delays = []
    for _ in range(10):
        job = await start(records, attempts)
        follower = Follower(records, job.id)
        await follower.begun()
        ended = time.monotonic()
        attempts.complete(job, example_result(job))
        await follower.end()
        delays.append(time.monotonic() - ended)
    assert sorted(delays)[5] < 0.1, delays


async def test_followers_learn_of_an_outage_and_can_go_on_after_it() -> None:
    with tempfile.TemporaryDirectory(prefix="lumiere-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        records = JobRecords(connect(server.url), JobPolicy())
        attempts = Attempts(connect_blocking(server.url), JobPolicy())
        job = await start(records, attempts)
        follower = Follower(records, job.id)
        await follower.begun()
        server.stop()
        with pytest.raises(RedisUnavailable):
            await follower.end()
        server.start()
        follower = Follower(records, job.id, follower.events[-1].id)
        step(attempts, job, 1)
        attempts.complete(job, example_result(job))
        assert [event.data["step"] for event in await follower.end()] == [1, 1]
        await records.close()
        server.stop()
