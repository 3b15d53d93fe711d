"""The tasks that begin with something given: whether what is known stays, whether what is asked for comes, and whether
one sees where the two meet.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from model.conditioning import Keyframe
from model.evaluation.finder import found
from model.evaluation.judge import agreement
from model.evaluation.judge_training import can_be_told
from model.evaluation.measures import first_step_ratio, psnr, seam_ratio, still_psnr
from model.evaluation.prompts import core_names, drawn_prompts, sentence
from model.evaluation.rendered import empty_settings, rendered_clips, rendered_cover, scenes_of, to_tensor
from model.evaluation.section import Bench, Row, Section, mean
from model.evaluation.subject import track_of
from model.style import style_slug
from model.training.scenes.attributes import ATTRIBUTES, STYLES, Scenes, sample_scenes
from model.video_io import Frames

LARGEST_HOLE = 0.6
"""Of the frame."""


def image_to_video(bench: Bench) -> Section:
    """The first frame of a rendered clip, and the prompt that it came with."""
    prompts = drawn_prompts(bench.some_prompts, bench.seed + 2, bench.split)
    said = [prompt.says for prompt in prompts]
    rendered = rendered_clips(scenes_of(said, bench.seed + 2), bench.made.size)
    clips = [
        bench.made.video("image_to_video", prompt.text, bench.seed + i, keyframes=[Keyframe(given[0], 0)])
        for i, (prompt, given) in enumerate(zip(track(prompts, "image-to-video"), rendered, strict=True))
    ]
    shown, world = agreement(said, bench.shown(clips)), agreement(said, bench.shown(rendered))
    steps = [mean(first_step_ratio(clip) for clip in some) for some in (clips, rendered)]
    first = [psnr(clip[0], given[0]) for clip, given in zip(clips, rendered, strict=True)]
    still = [still_psnr(clip, given) for clip, given in zip(clips, rendered, strict=True)]
    rows = [
        Row("first frame against the given one (99: exact)", mean(first), None, len(clips), "dB"),
        Row("what stands still, against the given frame", float(np.nanmean(still)), None, len(clips), "dB"),
        Row.both("step away from the first frame, in median steps", steps, len(clips)),
        *(Row(f"{name} as said", share, world[name], len(clips), "share") for name, share in shown.items()),
    ]
    return Section(rows, sheet=[(prompt.text, clip) for prompt, clip in zip(prompts, clips, strict=True)])


def inpaint(bench: Bench) -> Section:
    """A hole as large as the way of the prompted subject: in an empty setting, or where another subject is."""
    scenes = scenes_with_small_ways(bench.some_prompts, bench.seed + 3, bench)
    said = core_names(scenes)
    holes = [hole_around(cover) for cover in rendered_cover(scenes, bench.made.size).numpy()]
    others = scenes_of([another(named, bench.seed + i) for i, named in enumerate(said)], bench.seed)
    occupied = rendered_clips(replace(others, jitter=scenes.jitter), bench.made.size)
    sources = [
        other if i % 2 else empty
        for i, (other, empty) in enumerate(zip(occupied, empty_settings(scenes, bench.made.size), strict=True))
    ]
    clips = [
        bench.made.video("inpaint", sentence(named), bench.seed + i, video=sources[i], mask=holes[i][None])
        for i, named in enumerate(track(said, "inpaint"))
    ]
    rendered = rendered_clips(scenes, bench.made.size)
    shown, world = bench.shown(clips), bench.shown(rendered)
    rows = []
    for where, parity in (("an empty setting", 0), ("the place of another subject", 1)):
        chosen = range(parity, len(said), 2)
        for what, names in (("subject", ("subject",)), ("subject and colour", ("subject", "colour"))):
            shares = [
                mean(all(answers[i][name] == said[i][name] for name in names) for i in chosen)
                for answers in (shown, world)
            ]
            rows.append(Row.both(f"{what} as said, in {where}", shares, len(chosen), "share"))
    inside = [
        [centre_inside(bench, clip, hole) for clip, hole in zip(some, holes, strict=True)] for some in (clips, rendered)
    ]
    kept = [psnr(clip[:, ~hole], source[:, ~hole]) for clip, source, hole in zip(clips, sources, holes, strict=True)]
    seams = [mean(seam_ratio(clip, hole) for clip, hole in zip(some, holes, strict=True)) for some in (clips, rendered)]
    rows += [
        Row.both("centre of the subject inside of the hole", [mean(each) for each in inside], len(clips), "share"),
        Row("known pixels against the given ones (99: exact)", mean(kept), None, len(clips), "dB"),
        Row.both("difference across the border, in differences beside it", seams, len(clips)),
    ]
    records: list[dict[str, object]] = [
        {"prompt": sentence(named), "says": named, "shows": seen} for named, seen in zip(said, shown, strict=True)
    ]
    return Section(rows, records, [(sentence(named), clip) for named, clip in zip(said, clips, strict=True)])


def scenes_with_small_ways(n: int, seed: int, bench: Bench) -> Scenes:
    """Plain scenes of the split, the box around whose subject's way is at most LARGEST_HOLE of the frame."""
    scenes = sample_scenes(8 * n, torch.Generator().manual_seed(seed), split=bench.split, plain_share=1.0)
    small = [
        i for i, cover in enumerate(rendered_cover(scenes, 32).numpy()) if hole_around(cover).mean() <= LARGEST_HOLE
    ]
    return scenes[torch.tensor(small[:n])]


def hole_around(cover: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(h, w): the box around all that coverage (t, h, w) reaches, and a sixteenth of the frame more on each side."""
    size = cover.shape[-1]
    reached, margin = cover.max(0) > 0.2, max(1, size // 16)
    hole = np.zeros((size, size), bool)
    rows, columns = (np.flatnonzero(reached.any(axis)) for axis in (1, 0))
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    hole[top : rows[-1] + margin + 1, left : columns[-1] + margin + 1] = True
    return hole


def another(named: dict[str, str], seed: int) -> dict[str, str]:
    """The same setting and motion with another subject and colour."""
    rng = random.Random(seed)
    changed = {
        name: rng.choice([value for value in ATTRIBUTES[name] if value != named[name]])
        for name in ("subject", "colour")
    }
    return {**named, **changed}


def centre_inside(bench: Bench, clip: Frames, hole: NDArray[np.bool_]) -> bool:
    """Whether the subject's centre is in the hole most of the time."""
    way = track_of(found(bench.finder, to_tensor([clip]))[1][0])
    size = hole.shape[0]
    rows, columns = ((line * size).long().clamp(0, size - 1).numpy() for line in (way.y, way.x))
    return bool(hole[rows, columns].mean() > 0.5)


def cinemagraph(bench: Bench) -> Section:
    """A picture whose upper or lower half moves."""
    prompts = drawn_prompts(bench.some_prompts, bench.seed + 4, bench.split)
    rendered = rendered_clips(scenes_of([prompt.says for prompt in prompts], bench.seed + 4), bench.made.size)
    size = bench.made.size
    half = np.arange(size)[:, None].repeat(size, 1) >= size // 2
    regions = [half if i % 2 else ~half for i in range(len(prompts))]
    clips = [
        bench.made.video("cinemagraph", prompt.text, bench.seed + i, image=given[0], mask=region[None])
        for i, (prompt, given, region) in enumerate(zip(track(prompts, "cinemagraph"), rendered, regions, strict=True))
    ]
    pairs = list(zip(clips, rendered, regions, strict=True))
    kept = [psnr(clip[:, ~region], np.broadcast_to(given[0], clip.shape)[:, ~region]) for clip, given, region in pairs]
    moves = [mean(step(some[i], region) for i, region in enumerate(regions)) for some in (clips, rendered)]
    seams = [mean(seam_ratio(some[i], region) for i, region in enumerate(regions)) for some in (clips, rendered)]
    rows = [
        Row("still pixels against the picture (99: exact)", mean(kept), None, len(clips), "dB"),
        Row.both("step between frames where it moves, of 255", moves, len(clips)),
        Row.both("difference across the border, in differences beside it", seams, len(clips)),
    ]
    return Section(rows, sheet=[(prompt.text, clip) for prompt, clip in zip(prompts, clips, strict=True)])


def step(clip: Frames, region: NDArray[np.bool_]) -> float:
    return float(np.abs(np.diff(clip[:, region].astype(np.float32), axis=0)).mean())


def stylize(bench: Bench) -> Section:
    """A rendered plain clip, and the prompt that asks for it in another style of the world; with the weights of that
    style where the model has some.
    """
    scenes = sample_scenes(
        bench.some_prompts, torch.Generator().manual_seed(bench.seed + 5), split=bench.split, plain_share=1.0
    )
    styles = [style for style in STYLES if style != "plain"]
    sources = rendered_clips(scenes, bench.made.size)
    said = [{**named, "style": styles[i % len(styles)]} for i, named in enumerate(core_names(scenes))]
    has = set(bench.made.pipeline.styles)
    clips = []
    for i, named in enumerate(track(said, "stylize")):
        slug = style_slug(named["style"])
        weights = {"style": bench.made.pipeline.style_files[slug]} if slug in has else {}
        clips.append(bench.made.video("stylize", sentence(named), bench.seed + i, video=sources[i], **weights))
    return styled_section(bench, said, clips, rendered_clips(scenes_of(said, bench.seed + 5), bench.made.size))


def styled_section(
    bench: Bench, said: Sequence[dict[str, str]], clips: Sequence[Frames], rendered: Sequence[Frames]
) -> Section:
    """Agreement by attribute, and of the style by style."""
    shown, world = bench.shown(clips), bench.shown(rendered)
    told = [{name: value for name, value in named.items() if can_be_told(name, named)} for named in said]
    ours, theirs = agreement(told, shown), agreement(told, world)
    rows = [
        Row(f"{name} as said", share, theirs[name], sum(name in named for named in told), "share")
        for name, share in ours.items()
    ]
    for style in dict.fromkeys(named["style"] for named in said):
        chosen = [i for i, named in enumerate(said) if named["style"] == style]
        shares = [mean(answers[i]["style"] == style for i in chosen) for answers in (shown, world)]
        rows.append(Row.both(f"style as said: {style}", shares, len(chosen), "share"))
    records: list[dict[str, object]] = [
        {"prompt": sentence(named), "says": named, "shows": seen} for named, seen in zip(said, shown, strict=True)
    ]
    return Section(rows, records, [(sentence(named), clip) for named, clip in zip(said, clips, strict=True)])
