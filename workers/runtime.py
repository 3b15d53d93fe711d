"""The pipelines that live in the work-horse: loaded once, warmed up, run for one attempt after the other."""

import gc
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from model.pipeline import LumierePipeline
from model.video_io import write_mp4

from service.jobs.contract import ErrorCode, JobSpec
from service.jobs.models import ModelCard
from workers.horse import OnStep, Rendering, RunFailed
from workers.tasks import TASKS


class PipelineRuntime:
    """All models of the worker, on its device. Made by the horse; loading errors pass."""

    def __init__(self, cards: Mapping[str, ModelCard]) -> None:
        self.pipelines = {name: LumierePipeline.from_pretrained(card.folder) for name, card in cards.items()}
        first = next(iter(self.pipelines.values()))
        self.device = str(first.device)
        self.dtype = str(first.dtype).removeprefix("torch.")
        for name, card in cards.items():
            warm_up(self.pipelines[name], card)

    def run(self, spec: JobSpec, workdir: Path, on_step: OnStep) -> Rendering:
        """Makes the video of a spec; see `workers.horse.Runtime`."""
        pipeline = self.pipelines.get(spec.model)
        if pipeline is None:
            raise RunFailed(
                ErrorCode.MODEL_UNAVAILABLE, f"this worker does not hold the model {spec.model!r}", retry=True
            )
        on_step("starting", 0, spec.num_inference_steps)
        clip = self.render(pipeline, spec, on_step)
        on_step("encoding", 0, 0)
        started = time.monotonic()
        path = workdir / "video.mp4"
        write_mp4(clip.frames, path, spec.fps)
        frames, height, width = clip.frames.shape[:3]
        return Rendering(
            path=path,
            width=width,
            height=height,
            num_frames=frames,
            fps=spec.fps,
            dtype=self.dtype,
            upscale=clip.upscale,
            timings={**clip.timings, "encoding": time.monotonic() - started},
        )

    def render(self, pipeline: Any, spec: JobSpec, on_step: OnStep) -> Any:
        """The clip; one more try with emptied caches when the device's memory was too full."""

        def step_done(info: Any) -> None:
            on_step(info.stage, info.step, info.steps)

        for last_try in (False, True):
            try:
                return TASKS[spec.task](pipeline, spec, step_done)
            except (torch.OutOfMemoryError, MemoryError):
                if last_try:
                    raise RunFailed(
                        ErrorCode.OUT_OF_MEMORY, "not enough memory: ask for fewer frames or a smaller size"
                    ) from None
                free_memory()
            except torch.AcceleratorError as error:  # sticky: every later call on this device would fail too
                raise RunFailed(
                    ErrorCode.WORKER_CRASHED, f"the device failed: {error}", retry=True, broken=True
                ) from None
            except ValueError as error:
                raise RunFailed(ErrorCode.INVALID_REQUEST, str(error)) from None
        raise AssertionError("unreachable")


def warm_up(pipeline: Any, card: ModelCard) -> None:
    """One step of the default shape, so that the first job finds kernels chosen and memory mapped."""
    width, height = map(int, card.defaults.size.split("x"))
    pipeline.text_to_video(
        "warm up",
        num_frames=card.defaults.num_frames,
        width=width,
        height=height,
        num_inference_steps=card.limits.num_inference_steps[0],
    )


def free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
