"""A gateway for tests: its model folder, a worker's side of a job, and a real uvicorn on loopback."""

import contextlib
import hashlib
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import redis
import uvicorn
from fastapi import FastAPI

from service.jobs.attempts import Attempts, Progress, Verdict
from service.jobs.contract import ErrorCode, Job, JobError, JobResult, WorkerInfo, WorkerState
from service.jobs.policy import JobPolicy
from service.settings import Settings
from service.storage import Storage, still_key, video_key

MODEL = "lumiere-mini"
STILLS = {"thumbnail": ".webp", "spritesheet": ".jpg"}
"""Of a finished video; the content of each is its own key."""
CARD = {
    "id": MODEL,
    "tasks": ["text-to-video"],
    "defaults": {"num_frames": 80, "fps": 16, "size": "128x128", "num_inference_steps": 20, "guidance_scale": 4.0},
    "limits": {
        "num_frames": [8, 80],
        "fps": [8, 60],
        "sizes": ["64x64", "128x128", "256x256"],
        "num_inference_steps": [1, 100],
        "guidance_scale": [1.0, 20.0],
        "schedulers": ["UniPCMultistepScheduler", "FlowMatchHeunDiscreteScheduler"],
        "prompt_characters": 1000,
    },
    "upscale": "bicubic",
}


def write_card(folder: Path, card: dict[str, object] = CARD) -> Path:
    """A folder that holds nothing of a model but its card: all that a gateway reads."""
    folder.mkdir(parents=True)
    (folder / "lumiere.json").write_text(json.dumps(card))
    return folder


class Bench:
    """The worker's side, driven by hand: the scripts and the storage are those of a real worker."""

    def __init__(self, settings: Settings) -> None:
        assert settings.redis_url is not None
        self.redis = redis.Redis.from_url(settings.redis_url, decode_responses=True)
        self.attempts = Attempts(self.redis, JobPolicy.of(settings))
        self.storage = Storage.open(settings)
        self.folder = settings.data_dir

    def claim(self, job_id: str, attempt: int = 1) -> Job:
        job = self.attempts.claim(job_id, attempt, "bench")
        assert job is not None
        return job

    def step(
        self, job: Job, step: int, steps: int = 20, eta_seconds: float | None = None, preview: bytes = b""
    ) -> Verdict:
        percent = 100 * step // steps
        return self.attempts.beat(job, Progress("denoising", step, steps, percent, eta_seconds, True, preview))

    def complete(self, job: Job, content: bytes) -> JobResult:
        key = video_key(job.id, job.attempt)
        upload = self.folder / "upload.mp4"
        upload.write_bytes(content)
        self.storage.put_file(upload, key)
        stills = {name: still_key(key, name, suffix) for name, suffix in STILLS.items()}
        for still in stills.values():
            self.storage.put_file(io.BytesIO(still.encode()), still)
        result = JobResult(
            path=key,
            **stills,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            width=job.spec.width,
            height=job.spec.height,
            num_frames=job.spec.num_frames,
            fps=job.spec.fps,
            duration_seconds=job.spec.num_frames / job.spec.fps,
            timings={"denoise": 1.5, "encode": 0.25},
            dtype="float32",
            upscale="bicubic",
        )
        assert self.attempts.complete(job, result)
        return result

    def fail(self, job: Job, code: ErrorCode = ErrorCode.OUT_OF_MEMORY) -> None:
        assert self.attempts.fail(job, JobError(code=code, message="the device is too small", retryable=False))

    def confirm_cancel(self, job: Job) -> None:
        assert self.attempts.confirm_cancel(job, JobError(code=ErrorCode.CANCELLED, message="the job was cancelled"))

    def announce(self, state: WorkerState, detail: str = "") -> None:
        self.attempts.announce(
            WorkerInfo(name="bench", state=state, models=(MODEL,), seen_seconds_ago=0.0, detail=detail)
        )

    def close(self) -> None:
        self.redis.close()


@contextlib.contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The URL of the application on a real uvicorn, loopback only."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Streams that are still open when a test ends are cut after a second.
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "uvicorn did not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "uvicorn did not stop"
