"""Whatever dies, every accepted job ends in exactly one terminal state, with one result and one event."""

import hashlib
import io
import signal
from pathlib import Path

import psutil
import redis

from service.jobs import keys
from service.jobs.contract import ErrorCode, JobState, MediaRef, StyleOptions
from service.jobs.record import JobRecords
from service.settings import Settings
from service.storage import Storage, output_key
from service.styles.records import StyleRecords
from tests.workers.conftest import StartWorker, WorkerProcess
from tests.workers.watching import (
    assert_completed_once,
    events_of,
    scripted,
    stored_files,
    terminal_rows,
    until,
    until_ended,
    until_step,
)


async def test_a_job_is_made(
    records: JobRecords, shared_settings: Settings, worker: WorkerProcess, blocking: redis.Redis
) -> None:
    accepted = await records.accept(scripted(steps=5))
    job = await until_ended(records, accepted.job.id)
    assert_completed_once(job, shared_settings, blocking)
    assert (job.progress, job.attempt, job.steps_total) == (100, 1, 5)
    events = events_of(job.id, blocking)
    assert [event["status"] for event in events[:2]] == ["queued", "in_progress"]
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress) and progress[-1] == 100
    (info,) = await records.live_workers()
    assert info.state in ("ready", "busy")
    assert (info.models, info.device) == (("lumiere-mini",), "cpu none")
    assert not list((shared_settings.data_dir / "work").glob("*/*"))


async def test_a_killed_worker_takes_its_horse_along_and_the_next_one_finishes_its_job(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    first = start_worker()
    accepted = await records.accept(scripted(steps=30, step_seconds=0.04))
    await until_step(records, accepted.job.id, 3)
    (horse,) = first.horses()
    first.kill()
    await until(lambda: not horse.is_running() or horse.status() == psutil.STATUS_ZOMBIE)
    start_worker()
    job = await until_ended(records, accepted.job.id)
    assert job.attempt == 2
    assert_completed_once(job, settings, blocking)


async def test_a_killed_horse_is_noticed_at_once_and_replaced(
    records: JobRecords, shared_settings: Settings, worker: WorkerProcess, blocking: redis.Redis
) -> None:
    accepted = await records.accept(scripted(steps=30, step_seconds=0.04))
    await until_step(records, accepted.job.id, 3)
    (horse,) = worker.horses()
    horse.kill()
    job = await until_ended(records, accepted.job.id)
    assert job.attempt == 2
    reasons = [event["reason"] for event in events_of(job.id, blocking) if "reason" in event]
    assert reasons == ["worker_crashed"]
    assert "attempt 1: retry" in worker.log.read_text(), "noticed by the supervisor, not by the reaper"
    assert_completed_once(job, shared_settings, blocking)
    assert worker.process.poll() is None


async def test_a_worker_that_was_paused_past_its_lease_is_fenced(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    zombie = start_worker()
    accepted = await records.accept(scripted(steps=30, step_seconds=0.05))
    await until_step(records, accepted.job.id, 3)
    zombie.signal(signal.SIGSTOP)  # its horse goes on and stores a video
    second = start_worker()
    job = await until_ended(records, accepted.job.id)
    assert job.attempt == 2
    zombie.signal(signal.SIGCONT)
    await until(lambda: "but it was lost" in zombie.log.read_text() or "stopping, lost" in zombie.log.read_text())
    await until(lambda: len(stored_files(job.id, settings)) == 1)
    assert await records.get(job.id) == job
    assert_completed_once(job, settings, blocking)
    second.kill()
    again = await records.accept(scripted(seed=8))
    assert_completed_once(await until_ended(records, again.job.id), settings, blocking)  # the zombie works again


async def test_failures_of_an_attempt_are_retried(
    records: JobRecords, shared_settings: Settings, worker: WorkerProcess, blocking: redis.Redis, tmp_path: Path
) -> None:
    faults = ("crash", "raise", "full", "broken", "hang")
    accepted = [(await records.accept(scripted(at=2, do=fault, once=tmp_path / fault))).job.id for fault in faults]
    for job_id in accepted:
        job = await until_ended(records, job_id)
        assert job.attempt == 2
        assert_completed_once(job, shared_settings, blocking)


async def test_failures_that_repeat_end_the_job_and_leave_the_worker_alive(
    records: JobRecords, shared_settings: Settings, worker: WorkerProcess, blocking: redis.Redis
) -> None:
    faults = {"crash": ErrorCode.WORKER_CRASHED, "raise": ErrorCode.INTERNAL_ERROR, "full": ErrorCode.STORAGE_FULL}
    accepted = {fault: (await records.accept(scripted(at=2, do=fault))).job.id for fault in faults}
    healthy = await records.accept(scripted())
    for fault, code in faults.items():
        job = await until_ended(records, accepted[fault])
        assert (job.state, job.attempt) == (JobState.FAILED, 2)
        assert job.error is not None and (job.error.code, job.error.retryable) == (code, True)
        assert ("signal 9" in job.error.message) == (fault == "crash")
        assert terminal_rows(job.id, blocking) == (1, 1)
        assert stored_files(job.id, shared_settings) == []
    assert_completed_once(await until_ended(records, healthy.job.id), shared_settings, blocking)
    assert worker.process.poll() is None


async def test_a_job_lost_between_pop_and_claim_is_dispatched_anew(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    accepted = await records.accept(scripted())
    queue = keys.QueueKeys(keys.queue_of_model(settings.queue_name, "lumiere-mini"))
    assert blocking.lmove(queue.rq_list, queue.rq_popped) == keys.attempt_name(accepted.job.id, 1)
    start_worker()
    job = await until_ended(records, accepted.job.id)
    assert_completed_once(job, settings, blocking)
    assert blocking.llen(queue.rq_popped) == 0


async def test_a_job_that_learns_a_style_survives_its_worker_and_stores_its_weights_once(
    records: JobRecords, settings: Settings, start_worker: StartWorker, blocking: redis.Redis
) -> None:
    image = MediaRef(key="uploads/style", media_type="image/png", sha256=hashlib.sha256(b"png").hexdigest(), bytes=3)
    Storage.open(settings).put_file(io.BytesIO(b"png"), image.key)
    styles = StyleRecords(records.redis)
    style, _ = await styles.claim(name="mine", model="lumiere-mini", prompt="", content="c")
    options = StyleOptions(image=image, style_id=style.id)
    asked = scripted(steps=30, step_seconds=0.04).model_copy(update={"task": "style", "options": options})
    first = start_worker()
    job_id = (await records.accept(asked)).job.id
    await until_step(records, job_id, 3)
    first.kill()
    start_worker()

    job = await until_ended(records, job_id)

    assert job.state is JobState.COMPLETED and job.attempt == 2 and job.result is not None
    assert job.result.path == output_key("style", job_id, 2)
    learned = await styles.get(style.id)
    assert learned is not None and learned.weights is not None
    assert (learned.key, learned.sha256) == (job.result.path, job.result.sha256)
    assert [path.name for path in (settings.data_dir / "styles").rglob("*.safetensors")] == ["a2.safetensors"]
    assert terminal_rows(job_id, blocking) == (1, 1)
