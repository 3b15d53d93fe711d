"""Job specs for tests."""

from typing import Any

from service.jobs.contract import JobSpec


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
