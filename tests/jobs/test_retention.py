"""The sweeper deletes what nobody points to, and nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

from service.jobs import keys
from service.jobs.attempts import Attempts
from service.jobs.policy import JobPolicy
from service.jobs.record import JobRecords
from service.jobs.retention import sweep
from service.storage import Storage, video_key
from tests.jobs.examples import example_result, example_spec


async def test_sweep(records: JobRecords, blocking: redis.Redis, tmp_path: Path) -> None:
    storage = Storage.in_folder(tmp_path)
    attempts = Attempts(blocking, JobPolicy())
    video = tmp_path / "video.mp4"
    video.write_bytes(b"video")
    completed, running, expired, cancelled = [(await records.accept(example_spec())).job.id for _ in range(4)]
    for job_id in (completed, running, expired):
        job = attempts.claim(job_id, 1, "w")
        assert job is not None
        if job_id != running:
            attempts.complete(job, example_result(job))
    await records.cancel(cancelled)
    pointed, losing, in_flight = video_key(completed, 1), video_key(completed, 2), video_key(running, 1)
    unrecorded, of_cancelled = video_key(expired, 1), video_key(cancelled, 1)
    for key in (pointed, losing, in_flight, unrecorded, of_cancelled):
        storage.put_file(video, key)
    blocking.delete(keys.job(expired))

    async def left() -> set[str]:
        return {stored.key async for stored in storage.objects("videos")}

    now = datetime.now(UTC)
    assert await sweep(records, storage, now) == 0, "everything is young"
    assert await sweep(records, storage, now + timedelta(hours=2)) == 2
    assert await left() == {pointed, in_flight, unrecorded}
    assert await sweep(records, storage, now + timedelta(hours=25)) == 1
    assert await left() == {pointed, in_flight}
    assert blocking.zscore(keys.INDEX, expired) is None


async def test_expired_jobs_leave_the_index(records: JobRecords, blocking: redis.Redis) -> None:
    jobs = [(await records.accept(example_spec())).job.id for _ in range(130)]
    for rank, job_id in enumerate(jobs):
        blocking.zadd(keys.INDEX, {job_id: rank})
        if rank < 120:
            blocking.delete(keys.job(job_id))
    await records.forget_expired()
    assert blocking.zrange(keys.INDEX, 0, -1) == jobs[120:]
