"""The whole way with a real, tiny model: Redis, RQ, supervisor, horse, pipeline, MP4."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import redis

from model.video_io import read_mp4
from service.jobs.contract import ErrorCode, JobState
from service.jobs.models import read_catalogue
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.jobs.examples import example_spec
from tests.workers.watching import events_of, terminal_rows, until_ended, until_step


@pytest.mark.timeout(400)
async def test_a_prompt_becomes_a_video(
    records: JobRecords, settings: Settings, tiny_model: Path, blocking: redis.Redis, tmp_path: Path
) -> None:
    (model,) = read_catalogue([tiny_model])
    environment = {
        **os.environ,
        "LUMIERE_REDIS_URL": str(settings.redis_url),
        "LUMIERE_DATA_DIR": str(settings.data_dir),
        "LUMIERE_MODEL_DIRS": str(tiny_model),
        "PYTHONPATH": os.getcwd(),
    }
    spec = example_spec(model=model, num_frames=8, width=64, height=32, num_inference_steps=3)
    first = (await records.accept(spec)).job.id
    again = (await records.accept(spec)).job.id
    other = (await records.accept(example_spec(**{**spec.model_dump(), "seed": 8}))).job.id
    wrong = (await records.accept(example_spec(**{**spec.model_dump(), "width": 9}))).job.id
    long = (await records.accept(example_spec(**{**spec.model_dump(), "num_inference_steps": 1000}))).job.id
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen([sys.executable, "-m", "workers.main"], env=environment, stdout=log, stderr=log)
    try:
        job = await until_ended(records, first, seconds=200)  # importing torch takes long on a busy machine
        assert job.state is JobState.COMPLETED, (job, (tmp_path / "worker.log").read_text())
        assert job.result is not None
        video = settings.data_dir / job.result.path
        assert hashlib.sha256(video.read_bytes()).hexdigest() == job.result.sha256
        frames, fps = read_mp4(video)
        assert (frames.shape, fps) == ((8, 32, 64, 3), 16)
        facts = (job.result.num_frames, job.result.height, job.result.width, job.result.fps, job.result.bytes)
        assert facts == (8, 32, 64, 16, video.stat().st_size)
        assert job.result.duration_seconds == 0.5
        assert {"denoise", "encode", "store"} <= set(job.result.timings)
        steps = [event["step"] for event in events_of(first, blocking) if event["stage"] == "denoise"]
        assert steps and steps == sorted(steps)  # steps quicker than the beat share an event
        assert set(steps) <= {1, 2, 3}
        assert terminal_rows(first, blocking) == (1, 1)

        repeated, different = [await until_ended(records, job_id) for job_id in (again, other)]
        assert repeated.result is not None and different.result is not None
        same, _ = read_mp4(settings.data_dir / repeated.result.path)
        assert np.array_equal(same, frames), "the same seed gives the same pixels"
        assert different.result.sha256 != job.result.sha256

        refused = await until_ended(records, wrong)
        assert refused.error is not None and refused.attempt == 1
        assert refused.error.code is ErrorCode.INVALID_REQUEST and "width" in refused.error.message

        await until_step(records, long, 2)
        await records.cancel(long)
        assert (await until_ended(records, long, seconds=5)).state is JobState.CANCELLED
    finally:
        worker.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(worker.wait, 20)
    assert status == 0


@pytest.mark.timeout(400)
async def test_workers_of_different_models_one_of_which_makes_batches(
    records: JobRecords, settings: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    """The models differ in their ids alone, so that the same seed shows what a batch changes: nothing but rounding."""
    (model,) = read_catalogue([tiny_model])
    copied = Path(shutil.copytree(tiny_model, tmp_path / "copied"))
    card = json.loads((copied / "lumiere.json").read_text())
    (copied / "lumiere.json").write_text(json.dumps({**card, "id": "copied"}))
    spec = example_spec(model=model, num_frames=8, width=64, height=32, num_inference_steps=3)
    asked = [spec.model_copy(update={"seed": seed, "model": name}) for name in (model, "copied") for seed in (7, 8)]
    jobs = [(await records.accept(each)).job.id for each in asked]
    shared = {
        **os.environ,
        "LUMIERE_REDIS_URL": str(settings.redis_url),
        "LUMIERE_DATA_DIR": str(settings.data_dir),
        "PYTHONPATH": os.getcwd(),
    }
    words = [sys.executable, "-m", "workers.main"]
    workers = [
        subprocess.Popen(words, env={**shared, "LUMIERE_MODEL_DIRS": str(folder), "LUMIERE_BATCH_SIZE": size})
        for folder, size in ((tiny_model, "1"), (copied, "2"))
    ]
    try:
        alone, alone_too, *together = [await until_ended(records, job_id, seconds=200) for job_id in jobs]
    finally:
        for worker in workers:
            worker.kill()
            await asyncio.to_thread(worker.wait, 20)
    for job, worker in zip((alone, alone_too, *together), (0, 0, 1, 1), strict=True):
        assert job.state is JobState.COMPLETED, job
        assert job.worker is not None and f"-{workers[worker].pid}-" in job.worker
    assert alone.started_at != alone_too.started_at and together[0].started_at == together[1].started_at
    for one, other in zip((alone, alone_too), together, strict=True):
        assert one.result is not None and other.result is not None
        frames, _ = read_mp4(settings.data_dir / one.result.path)
        batched, _ = read_mp4(settings.data_dir / other.result.path)
        assert np.abs(frames.astype(int) - batched).mean() < 1
        assert (one.result.prompt_tokens_used, set(one.result.timings)) == (
            other.result.prompt_tokens_used,
            set(other.result.timings),
        )
