"""The pipeline call of each task: a job's spec and its input files become arguments. Imports the model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.conditioning import Box, Keyframe, Margins
from model.image_io import read_image
from model.inputs import read_picture, read_region, read_source
from model.options import Asked, Drawn, Options
from service.jobs import contract
from service.jobs.contract import (
    CinemagraphOptions,
    ImageToVideoOptions,
    InpaintOptions,
    InStyle,
    JobSpec,
    StyleOptions,
    StylizeOptions,
    TextToVideoOptions,
)
from workers.inputs import Inputs

OnStep = Callable[[Any], None]
Task = Callable[[Any, JobSpec, Inputs, OnStep], Any]
"""(pipeline, spec, inputs, callback after each step) -> clip of the pipeline. Raises ValueError for inputs that cannot
be used."""

STYLE_SIDES = 8
"""The picture of a style is read at so many sides of what the network draws: strokes show in cut-outs."""


def shared(spec: JobSpec, on_step: OnStep) -> dict[str, Any]:
    """The arguments that all tasks have."""
    return {
        "negative_prompt": spec.negative_prompt,
        "seed": spec.seed,
        "height": spec.height,
        "width": spec.width,
        "num_inference_steps": spec.num_inference_steps,
        "guidance_scale": spec.guidance_scale,
        "guidance_rescale": spec.guidance_rescale,
        "guidance_interval": spec.guidance_interval,
        "scheduler": spec.scheduler,
        "on_step": on_step,
    }


def text_to_video(pipeline: Any, spec: JobSpec, inputs: Inputs, on_step: OnStep) -> Any:
    style = in_style(spec.options, inputs) if isinstance(spec.options, TextToVideoOptions) else {}
    return pipeline.text_to_video(spec.prompt, num_frames=spec.num_frames, **style, **shared(spec, on_step))


def draw_videos(pipeline: Any, specs: Sequence[JobSpec], on_step: OnStep) -> list[Drawn]:
    """Text-to-video jobs that are alike, denoised as one batch: what `finish` of the pipeline makes clips of."""
    style: dict[str, Any] = {"style": None, "style_strength": 1.0}
    if isinstance(specs[0].options, TextToVideoOptions):
        style = in_style(specs[0].options, Inputs())
    asked = [
        Asked(spec.prompt, Options(num_frames=spec.num_frames, **{**shared(spec, on_step), "on_step": None}))
        for spec in specs
    ]
    with pipeline.in_style(style["style"], style["style_strength"]):
        drawn: list[Drawn] = pipeline.draw(asked, on_step=on_step)
    return drawn


def image_to_video(pipeline: Any, spec: JobSpec, inputs: Inputs, on_step: OnStep) -> Any:
    options = spec.options
    assert isinstance(options, ImageToVideoOptions)
    return pipeline.image_to_video(
        spec.prompt,
        keyframes=[
            Keyframe(read_picture(path, spec.width, spec.height), keyframe.frame)
            for path, keyframe in zip(inputs.keyframes, options.keyframes, strict=True)
        ],
        resize=options.resize,
        num_frames=spec.num_frames,
        **shared(spec, on_step),
    )


def inpaint(pipeline: Any, spec: JobSpec, inputs: Inputs, on_step: OnStep) -> Any:
    """A source that is shorter than `num_frames` makes a shorter video."""
    options = spec.options
    assert isinstance(options, InpaintOptions)
    video = source_video(inputs.video, spec)
    return pipeline.inpaint(
        spec.prompt,
        video=video,
        mask=region(inputs.mask, options.boxes, len(video), spec, video.shape[1:3]),
        expand=Margins(**options.expand.model_dump()) if options.expand else Margins(),
        feather=options.feather,
        resize=options.resize,
        **shared(spec, on_step),
    )


def cinemagraph(pipeline: Any, spec: JobSpec, inputs: Inputs, on_step: OnStep) -> Any:
    options = spec.options
    assert isinstance(options, CinemagraphOptions)
    assert inputs.image is not None
    image = read_picture(inputs.image, spec.width, spec.height)
    return pipeline.cinemagraph(
        spec.prompt,
        image=image,
        mask=region(inputs.mask, options.boxes, spec.num_frames, spec, image.shape[:2]),
        loop=options.loop,
        resize=options.resize,
        num_frames=spec.num_frames,
        **shared(spec, on_step),
    )


def stylize(pipeline: Any, spec: JobSpec, inputs: Inputs, on_step: OnStep) -> Any:
    options = spec.options
    assert isinstance(options, StylizeOptions)
    length: dict[str, Any] = {"num_frames": spec.num_frames} if inputs.video is None else {}
    return pipeline.stylize(
        spec.prompt,
        video=None if inputs.video is None else source_video(inputs.video, spec),
        strength=options.strength,
        **in_style(options, inputs),
        **length,
        **shared(spec, on_step),
    )


def in_style(options: InStyle, inputs: Inputs) -> dict[str, Any]:
    """The style by its file where it was learned, else by its name."""
    return {"style": inputs.style or options.style, "style_strength": options.style_strength}


def learn_style(pipeline: Any, spec: JobSpec, inputs: Inputs, path: Path, on_step: OnStep) -> None:
    """Writes the weights of a style to `path`. Raises as a task does."""
    options = spec.options
    assert isinstance(options, StyleOptions)
    assert inputs.image is not None
    pipeline.learn_style(
        read_image(inputs.image, shortest_side=STYLE_SIDES * pipeline.base_resolution),
        path,
        prompt=options.shows,
        seed=spec.seed,
        steps=spec.num_inference_steps,
        on_step=on_step,
    )


def source_video(path: Path | None, spec: JobSpec) -> NDArray[np.uint8]:
    assert path is not None
    return read_source(path, spec.fps, spec.num_frames, spec.width, spec.height)


def region(
    mask: Path | None, boxes: tuple[contract.Box, ...], num_frames: int, spec: JobSpec, size: tuple[int, ...]
) -> NDArray[np.bool_]:
    """size: (h, w) of the input that mask and boxes are of."""
    shapes = [Box(**box.model_dump()) for box in boxes]
    return read_region(mask, shapes, num_frames, spec.fps, size[0], size[1])


TASKS: dict[str, Task] = {
    "text-to-video": text_to_video,
    "image-to-video": image_to_video,
    "inpaint": inpaint,
    "cinemagraph": cinemagraph,
    "stylize": stylize,
}
