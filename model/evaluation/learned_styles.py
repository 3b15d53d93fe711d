"""Styles learned from one picture each, which no training saw: whether the judge sees them, and can tell them apart."""

import random
from pathlib import Path

import torch
from rich.progress import track

from model.evaluation.edits import styled_section
from model.evaluation.made import digest
from model.evaluation.prompts import core_names, sentence
from model.evaluation.rendered import rendered_clips, scenes_of, to_clips
from model.evaluation.section import Bench, Row, Section
from model.training.scenes.attributes import STYLES, sample_scenes
from model.training.scenes.motions import CLIP_SECONDS
from model.training.scenes.render import render
from model.video_io import Frames

LEARNED = 3
FINER = 2
"""Pixels along each side of a reference picture, for one of a video."""


def learned_styles(bench: Bench, steps: int | None = None) -> Section:
    """One rendered frame in each of LEARNED styles of the world; then prompts that say nothing of a style, drawn with
    what was learned. steps: of learning; None is the model's own number.
    """
    rng = random.Random(bench.seed)
    styles = rng.sample([style for style in STYLES if style != "plain"], LEARNED)
    scenes = sample_scenes(
        bench.some_prompts, torch.Generator().manual_seed(bench.seed + 6), split=bench.split, plain_share=1.0
    )
    named = core_names(scenes)
    files = {style: learned(bench, style, steps) for style in track(styles, "learned-styles: learning")}
    clips: list[Frames] = []
    for i, plain in enumerate(track(named, "learned-styles: drawing")):
        style = files[styles[i % LEARNED]]
        clips.append(bench.made.video("text_to_video", sentence(plain), bench.seed + i, style=style))
    said = [{**plain, "style": styles[i % LEARNED]} for i, plain in enumerate(named)]
    section = styled_section(bench, said, clips, rendered_clips(scenes_of(said, bench.seed + 6), bench.made.size))
    apart = Row("styles told apart by their features", told_apart(bench, clips), None, len(clips), "share")
    return Section([*section.rows, apart], section.videos, section.sheet)


def learned(bench: Bench, style: str, steps: int | None) -> Path:
    """The file of a style, learned from a frame in the middle of a clip, if it was not before."""
    scene = scenes_of([{"style": style}], bench.seed + 7)
    picture = to_clips(render(scene, torch.tensor([CLIP_SECONDS / 2]), FINER * bench.made.size))[0][0]
    path = bench.made.folder / f"style-{digest([bench.made.model, picture, steps])}.safetensors"
    if not path.exists():
        prompt = sentence({**scene.names(0), "style": "plain"})
        bench.made.pipeline.learn_style(picture, path, prompt=prompt, seed=bench.seed, steps=steps)
    return path


def told_apart(bench: Bench, clips: list[Frames]) -> float:
    """Share of clips whose style's other clips lie nearest on average; style i % LEARNED is clip i's."""
    points = bench.features(clips)
    distances = torch.cdist(points, points)
    right = []
    for i in range(len(clips)):
        means = [
            distances[i, [j for j in range(style, len(clips), LEARNED) if j != i]].mean().nan_to_num(torch.inf)
            for style in range(LEARNED)
        ]
        right.append(int(torch.stack(means).argmin()) == i % LEARNED)
    return sum(right) / len(right)
