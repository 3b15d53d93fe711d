"""The fixed tables of what a worker does: the function that RQ carries by name, and the pipeline call of each task."""

from collections.abc import Callable
from typing import Any, NoReturn

from service.jobs.contract import JobSpec
from workers.inputs import Inputs

Task = Callable[[Any, JobSpec, Inputs, Callable[[Any], None]], Any]
"""(pipeline, spec, inputs, callback after each denoising step) -> clip of the pipeline"""


def generate_video(attempt: str) -> NoReturn:
    """The name that stands for an attempt in RQ's lists. A supervisor never calls it; a plain `rq worker` would."""
    raise RuntimeError(f"{attempt} needs a worker of this project: start one with `lumiere worker`")


def text_to_video(pipeline: Any, spec: JobSpec, inputs: Inputs, on_step: Callable[[Any], None]) -> Any:
    return pipeline.text_to_video(
        spec.prompt,
        negative_prompt=spec.negative_prompt,
        seed=spec.seed,
        num_frames=spec.num_frames,
        height=spec.height,
        width=spec.width,
        num_inference_steps=spec.num_inference_steps,
        guidance_scale=spec.guidance_scale,
        on_step=on_step,
    )


TASKS: dict[str, Task] = {"text-to-video": text_to_video}
