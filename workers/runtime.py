"""The pipelines that live in the work-horse: loaded once, warmed up, run for one attempt after the other."""

import errno
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from einops import rearrange

from model.denoising import InvalidOutput, StepInfo
from model.options import Drawn
from model.pipeline import Clip, LumierePipeline
from model.video_io import write_mp4
from service.jobs.contract import STYLE, ErrorCode, JobSpec
from service.jobs.models import ModelCard
from workers.horse import OnStep, OnStepOfBatch, Rendering, RunFailed
from workers.inputs import Inputs
from workers.messages import DeviceMemory
from workers.pipeline_calls import TASKS, draw_videos, learn_style
from workers.stills import PREVIEW_FRAMES, preview, write_spritesheet, write_thumbnail

PREVIEW_SECONDS = 1.0
"""The shortest time between two previews of a job."""


class PipelineRuntime:
    """All models of the worker, on its device. Made by the horse; loading errors pass."""

    def __init__(self, cards: Mapping[str, ModelCard]) -> None:
        self.pipelines = {name: LumierePipeline.from_pretrained(card.folder) for name, card in cards.items()}
        first = next(iter(self.pipelines.values()))
        self.device = str(first.device)
        self.dtype = str(first.dtype).removeprefix("torch.")
        for name, card in cards.items():
            warm_up(self.pipelines[name], card)

    def run(
        self, spec: JobSpec, inputs: Inputs, workdir: Path, on_step: OnStep, drawn: Drawn | None = None
    ) -> Rendering:
        """Makes the video of a spec and its inputs; see `workers.horse.Runtime`."""
        pipeline = self.pipeline_of(spec)
        if spec.task == STYLE:
            return self.learn(pipeline, spec, inputs, workdir / "weights.safetensors", on_step)
        if drawn is None:
            clip = render(pipeline, spec, inputs, on_step)
        else:
            told = replace(drawn.options, on_step=lambda info: on_step(info.stage, info.step, info.steps))
            with translated_errors():
                clip = pipeline.finish(replace(drawn, options=told))
        on_step("encode", 0, 0)
        started = time.monotonic()
        path = workdir / "video.mp4"
        with translated_errors():
            write_mp4(clip.frames, path, spec.fps, chroma=spec.chroma)
            thumbnail = write_thumbnail(clip.frames, workdir / "thumbnail.webp")
            spritesheet = write_spritesheet(clip.frames, workdir / "spritesheet.jpg")
        frames, height, width = clip.frames.shape[:3]
        return Rendering(
            path=path,
            thumbnail=thumbnail,
            spritesheet=spritesheet,
            width=width,
            height=height,
            num_frames=frames,
            fps=spec.fps,
            dtype=self.dtype,
            upscale=clip.upscale,
            prompt_tokens_used=clip.prompt_tokens_used,
            prompt_tokens_max=clip.prompt_tokens_max,
            prompt_truncated=clip.prompt_truncated,
            timings={**clip.timings, "encode": time.monotonic() - started},
        )

    def draw(self, specs: Sequence[JobSpec], on_step: OnStepOfBatch) -> Sequence[Drawn]:
        """Denoises the videos of text-to-video jobs that are alike, as one batch."""
        pipeline = self.pipeline_of(specs[0])
        pictures = [Pictures(pipeline) for _ in specs]

        def step_done(info: StepInfo) -> None:
            for place, each in enumerate(pictures):
                estimate = None if info.x0 is None else info.x0[place : place + 1]
                on_step(place, info.stage, info.step, info.steps, each.due(info._replace(x0=estimate)))

        with translated_errors():
            return draw_videos(pipeline, specs, step_done)

    def pipeline_of(self, spec: JobSpec) -> LumierePipeline:
        """Raises RunFailed."""
        pipeline = self.pipelines.get(spec.model)
        if pipeline is None:
            message = f"this worker does not hold the model {spec.model!r}"
            raise RunFailed(ErrorCode.MODEL_UNAVAILABLE, message, retry=True)
        return pipeline

    def learn(self, pipeline: LumierePipeline, spec: JobSpec, inputs: Inputs, path: Path, on_step: OnStep) -> Rendering:
        """Learns the style of a spec's picture; its file at `path`."""
        started = time.monotonic()
        with translated_errors():
            learn_style(pipeline, spec, inputs, path, lambda info: on_step(info.stage, info.step, info.steps))
        free_memory()
        return Rendering(
            path=path,
            width=spec.width,
            height=spec.height,
            num_frames=spec.num_frames,
            fps=spec.fps,
            dtype=self.dtype,
            upscale="",
            timings={"train": time.monotonic() - started},
        )

    def memory(self) -> DeviceMemory | None:
        """See `workers.horse.Runtime`."""
        if not self.device.startswith("cuda"):
            return None
        free, total = torch.cuda.mem_get_info(self.device)
        return DeviceMemory(total - free, torch.cuda.max_memory_allocated(self.device), total)


def render(pipeline: LumierePipeline, spec: JobSpec, inputs: Inputs, on_step: OnStep) -> Clip:
    """The clip of a spec; tried once more with emptied caches when the device's memory was too full."""

    pictures = Pictures(pipeline)

    def step_done(info: StepInfo) -> None:
        on_step(info.stage, info.step, info.steps, pictures.due(info))

    task: Callable[..., Clip] = TASKS[spec.task]
    try:
        with translated_errors():
            return task(pipeline, spec, inputs, step_done)
    except RunFailed as failure:
        if failure.outcome.code is not ErrorCode.OUT_OF_MEMORY:
            raise
    free_memory()
    with translated_errors():
        return task(pipeline, spec, inputs, step_done)


class Pictures:
    """Previews of one job, no more than one in PREVIEW_SECONDS."""

    def __init__(self, pipeline: LumierePipeline) -> None:
        self.pipeline = pipeline
        self.shown_at = time.monotonic()

    def due(self, info: StepInfo) -> bytes:
        """The preview of this step; nothing when it is not time for one."""
        if info.x0 is None or info.step == info.steps or time.monotonic() - self.shown_at < PREVIEW_SECONDS:
            return b""
        self.shown_at = time.monotonic()
        return preview_of(self.pipeline, info.x0)


def preview_of(pipeline: LumierePipeline, x0: torch.Tensor) -> bytes:
    """The estimate (b, c, t, h, w) of the finished video as a small WebP: a few frames, one where a VAE makes them."""
    count = PREVIEW_FRAMES if pipeline.vae is None else 1
    picks = torch.linspace(0, x0.shape[2] - 1, min(count, x0.shape[2])).round().long()
    with torch.no_grad():
        pixels = pipeline.decode(x0[:1, :, picks.to(x0.device)])
    frames = rearrange((pixels[0].clamp(-1, 1) + 1) * 127.5, "c t h w -> t h w c").round().to(torch.uint8)
    return preview(frames.cpu().numpy())


@contextmanager
def translated_errors() -> Iterator[None]:
    """Errors of the model, its device and the disk as RunFailed; others are bugs and pass."""
    try:
        yield
    except InvalidOutput as error:
        raise RunFailed(ErrorCode.INVALID_OUTPUT, str(error)) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise RunFailed(ErrorCode.OUT_OF_MEMORY, "not enough memory: ask for fewer frames or a smaller size") from error
    except torch.AcceleratorError as error:  # sticky: every later call on this device would fail too
        message = f"the device failed: {str(error).splitlines()[0]}"
        raise RunFailed(ErrorCode.WORKER_CRASHED, message, retry=True, broken=True) from error
    except ValueError as error:
        raise RunFailed(ErrorCode.INVALID_REQUEST, str(error)) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunFailed(ErrorCode.STORAGE_FULL, "no room for the unfinished video", retry=True) from error


def warm_up(pipeline: LumierePipeline, card: ModelCard) -> None:
    """The fewest steps of the default shape, so that the first job finds kernels chosen and memory mapped."""
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
