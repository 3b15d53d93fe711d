"""Job specs for tests."""

from typing import Any

from service.jobs.contract import Job, JobResult, JobSpec
from service.storage import video_key


def example_spec(**changes: Any) -> JobSpec:
    values = {
        "model": "lumiere-mini",
        "prompt": "a red ball bouncing on a meadow",
        "seed": 7,
        "num_frames": 16,
        "fps": 16,
        "width": 64,
        "height": 64,
        "num_inference_steps": 4,
        "guidance_scale": 5.0,
    }
    return JobSpec(**{**values, **changes})


def example_result(job: Job) -> JobResult:
    return JobResult(
        path=video_key(job.id, job.attempt),
        bytes=1234,
        sha256="0" * 64,
        width=job.spec.width,
        height=job.spec.height,
        num_frames=job.spec.num_frames,
        fps=job.spec.fps,
        duration_seconds=job.spec.num_frames / job.spec.fps,
        timings={"denoising": 1.5},
        dtype="float32",
        upscale="bicubic",
    )
