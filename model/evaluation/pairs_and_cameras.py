"""Prompts of two subjects, and of a camera that moves: whether what they say is shown."""

import random
from collections.abc import Callable, Sequence

import torch
from rich.progress import track

from model.evaluation.judge import agreement
from model.evaluation.rendered import rendered_clips, scenes_of
from model.evaluation.section import Bench, Row, Section, mean
from model.training.scenes.attributes import CORE, Split, sample_scenes
from model.training.scenes.captions import Caption, captions

PAIR_MEASURES = {
    "both subjects as said": ("subject", "other_subject"),
    "both colours as said": ("colour", "other_colour"),
    "relation as said": ("relation",),
    "all of these as said": ("subject", "other_subject", "colour", "other_colour", "relation"),
}
OF_PAIRS = (*CORE, "relation", "other_subject", "other_colour")
OF_CAMERAS = (*CORE, "camera")


def drawn_pairs(n: int, seed: int, split: Split = "held-out") -> list[Caption]:
    """Sentences of two subjects in the plain style, of combinations of `split`."""
    scenes = sample_scenes(n, torch.Generator().manual_seed(seed), split, plain_share=1.0, pair_share=1.0)
    return saying(captions(scenes, random.Random(seed), open_share=0.0), OF_PAIRS)


def drawn_cameras(n: int, seed: int, split: Split = "held-out") -> list[Caption]:
    """Sentences of single subjects before a moving camera in the plain style, of combinations of `split`."""
    scenes = sample_scenes(n, torch.Generator().manual_seed(seed), split, plain_share=1.0, camera_share=1.0)
    return saying(captions(scenes, random.Random(seed), open_share=0.0), OF_CAMERAS)


def saying(prompts: Sequence[Caption], names: Sequence[str]) -> list[Caption]:
    """Prompts held to `names` alone of what they say."""
    return [Caption(prompt.text, {name: prompt.says[name] for name in names}) for prompt in prompts]


Named = Sequence[dict[str, str]]
"""What each of some clips says, or shows."""


def two_subjects(bench: Bench) -> Section:
    prompts = drawn_pairs(max(2, bench.prompts // 2), bench.seed + 8, bench.split)
    return shown_section(bench, "two-subjects", prompts, bench.seed + 8, pair_rows)


def camera(bench: Bench) -> Section:
    prompts = drawn_cameras(bench.some_prompts, bench.seed + 9, bench.split)
    return shown_section(bench, "camera", prompts, bench.seed + 9, camera_rows)


def shown_section(
    bench: Bench, name: str, prompts: list[Caption], seed: int, rows_of: Callable[[Named, Named, Named], list[Row]]
) -> Section:
    """rows_of: the figures, from what was said, what videos show, and what rendered clips do."""
    said = [prompt.says for prompt in prompts]
    clips = [bench.made.video("text_to_video", prompt.text, seed + i) for i, prompt in enumerate(track(prompts, name))]
    shown, world = bench.shown(clips), bench.shown(rendered_clips(scenes_of(said, seed), bench.made.size))
    records: list[dict[str, object]] = [
        {"prompt": prompt.text, "seed": seed + i, "says": prompt.says, "shows": seen}
        for i, (prompt, seen) in enumerate(zip(prompts, shown, strict=True))
    ]
    sheet = [(prompt.text, clip) for prompt, clip in zip(prompts, clips, strict=True)]
    return Section(rows_of(said, shown, world), records, sheet)


def pair_rows(said: Named, shown: Named, rendered: Named) -> list[Row]:
    """What is said of both subjects at once; then setting and motion."""
    rows = []
    for measure, names in PAIR_MEASURES.items():
        shares = [
            mean(all(seen[name] == named[name] for name in names) for named, seen in zip(said, answers, strict=True))
            for answers in (shown, rendered)
        ]
        rows.append(Row.both(measure, shares, len(said), "share"))
    return [*rows, *agreement_of(("setting", "motion"), said, shown, rendered)]


def camera_rows(said: Named, shown: Named, rendered: Named) -> list[Row]:
    """The camera, and what it shows."""
    return agreement_of(("camera", "subject", "colour", "setting", "motion"), said, shown, rendered)


def agreement_of(names: Sequence[str], said: Named, shown: Named, rendered: Named) -> list[Row]:
    chosen = [{name: named[name] for name in names if name in named} for named in said]
    model, world = agreement(chosen, shown), agreement(chosen, rendered)
    return [Row(f"{name} as said", share, world[name], len(said), "share") for name, share in model.items()]
