"""Whoever can write to Redis can put RQ jobs into the list; a worker runs none but its own."""

import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import redis

from service.jobs import keys
from service.jobs.connection import connect_blocking
from service.jobs.contract import new_job_id
from service.jobs.queue import GENERATE_VIDEO
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.workers.conftest import SHARED_QUEUE, WorkerProcess
from tests.workers.watching import assert_completed_once, scripted, until, until_ended, until_step

QUEUE = keys.QueueKeys(f"{SHARED_QUEUE}.lumiere-mini")


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def plant(client: redis.Redis, name: str, **fields: Any) -> None:
    client.hset(keys.RQ_JOB_PREFIX + name, mapping={"origin": SHARED_QUEUE, "status": "queued", **fields})
    client.rpush(QUEUE.rq_list, name)


async def test_hostile_rq_jobs_are_refused(
    records: JobRecords,
    shared_settings: Settings,
    worker: WorkerProcess,
    redis_url: str,
    tmp_path: Path,
    blocking: redis.Redis,
) -> None:
    marker = tmp_path / "owned"
    shell = json.dumps(["os.system", None, [f"touch {marker}"], {}])
    callbacks = {f"{kind}_callback_name": "os.system" for kind in ("success", "failure", "stopped")}
    with redis.Redis.from_url(redis_url) as client:
        plant(client, "evil", data=shell)
        plant(client, f"{new_job_id()}-a1", data=shell, timeout="-1")
        plant(client, f"{new_job_id()}-a1", data=zlib.compress(shell.encode()))
        plant(client, f"{new_job_id()}-a1", data=pickle.dumps(Payload(marker)), meta=pickle.dumps(Payload(marker)))
        plant(client, f"{new_job_id()}-a1", data="not json", timeout="soon", status="?", created_at="never")
        plant(client, f"{new_job_id()}-a1", data=json.dumps([GENERATE_VIDEO, "os", ["x"], {}]), **callbacks)
        plant(client, f"{new_job_id()}-a999999999999999999999", data=json.dumps([GENERATE_VIDEO, None, [], {}]))
        plant(client, "../../x-a1", webhooks="[]")
        name = f"{new_job_id()}-a1"
        client.set(keys.RQ_JOB_PREFIX + name, "not a hash")
        client.rpush(QUEUE.rq_list, name, "no such hash", b"\xff\xfe")
        unknown = f"{new_job_id()}-a1"  # well formed, but no such job
        plant(client, unknown, data=json.dumps([GENERATE_VIDEO, None, [unknown], {}]), **callbacks)
    accepted = await records.accept(scripted())
    with redis.Redis.from_url(redis_url) as client:  # callbacks on a job of ours change nothing
        client.hset(keys.RQ_JOB_PREFIX + keys.attempt_name(accepted.job.id, 1), mapping=callbacks)
    job = await until_ended(records, accepted.job.id)
    with connect_blocking(redis_url) as blocking:
        assert_completed_once(job, shared_settings, blocking)
    assert not marker.exists()
    assert worker.process.poll() is None
    with redis.Redis.from_url(redis_url) as client:
        await until(lambda: client.llen(QUEUE.rq_list) == client.llen(QUEUE.rq_popped) == 0)
        left = [key for key in client.keys("rq:job:*") if client.type(key) == b"hash"]
        assert left == []


async def test_rq_commands_are_not_listened_to(
    records: JobRecords, shared_settings: Settings, worker: WorkerProcess, blocking: redis.Redis
) -> None:
    accepted = await records.accept(scripted(steps=10, step_seconds=0.05))
    running = await until_step(records, accepted.job.id, 1)
    for command in ("shutdown", "kill-horse"):
        assert blocking.publish(f"rq:pubsub:{running.worker}", json.dumps({"command": command})) == 0
    job = await until_ended(records, accepted.job.id)
    assert_completed_once(job, shared_settings, blocking)
    assert job.attempt == 1
    assert worker.process.poll() is None
