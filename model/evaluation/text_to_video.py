"""Videos from prompts that training never saw: whether they show what was said, how they move, how far they are from
rendered ones as a set; how much each word of a prompt counts; how much videos of one prompt differ.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict

import torch
from rich.progress import track

from model.evaluation.direct import colour_agrees, measured, motion_agrees, strengths
from model.evaluation.disturbance import softened
from model.evaluation.judge import agreement
from model.evaluation.measures import Smoothness, smoothness
from model.evaluation.prompts import core_names, drawn_prompts, sentence
from model.evaluation.rendered import rendered_clips, scenes_of, to_clips, to_tensor
from model.evaluation.section import Bench, Row, Section, groups, mean
from model.evaluation.sets import FeatureSpace, frechet_distance, spread
from model.training.scenes.attributes import ATTRIBUTES, CORE, sample_scenes
from model.video_io import Frames

REFERENCE_SETS = 3
"""Rendered sets of the prompts that the feature space and one side of the Fréchet distance are made of."""
SOFTENING = 2.0
SEEDS = 8


def text_to_video(bench: Bench) -> Section:
    prompts = drawn_prompts(bench.prompts, bench.seed, bench.split, bench.plain_share)
    said = [prompt.says for prompt in prompts]
    clips = [
        bench.made.video("text_to_video", prompt.text, bench.seed + i)
        for i, prompt in enumerate(track(prompts, "text-to-video"))
    ]
    seconds = mean(bench.made.seconds[-len(clips) :])
    rendered = rendered_clips(scenes_of(said, bench.seed), bench.made.size)
    shown, shown_rendered = bench.shown(clips), bench.shown(rendered)
    rows = [
        *agreement_rows(said, shown, shown_rendered),
        *distance_rows(bench, said, clips, rendered),
        *smoothness_rows(clips, rendered),
        *direct_rows(bench, said, clips, rendered),
        Row("time for one video", seconds, None, len(clips), "s"),
    ]
    videos: list[dict[str, object]] = [
        {"prompt": prompt.text, "seed": bench.seed + i, "says": prompt.says, "shows": seen}
        for i, (prompt, seen) in enumerate(zip(prompts, shown, strict=True))
    ]
    return Section(rows, videos, [(prompt.text, clip) for prompt, clip in zip(prompts, clips, strict=True)])


def agreement_rows(
    said: Sequence[dict[str, str]], shown: Sequence[dict[str, str]], rendered: Sequence[dict[str, str]]
) -> list[Row]:
    """By attribute; by style for prompts of another style than the plain one; and all attributes at once."""
    model, world = agreement(said, shown), agreement(said, rendered)
    rows = [
        Row(f"{name} as said", share, world[name], sum(name in named for named in said), "share")
        for name, share in model.items()
    ]
    styled = [i for i, named in enumerate(said) if named["style"] != "plain"]
    if styled:
        model_styled, world_styled = (
            mean(answers[i]["style"] == said[i]["style"] for i in styled) for answers in (shown, rendered)
        )
        rows.append(Row("style as said, if not plain", model_styled, world_styled, len(styled), "share"))
    whole = [
        mean(named.items() <= seen.items() for named, seen in zip(said, answers, strict=True))
        for answers in (shown, rendered)
    ]
    return [*rows, Row.both("all of it as said", whole, len(said), "share")]


def distance_rows(
    bench: Bench, said: Sequence[dict[str, str]], clips: Sequence[Frames], rendered: Sequence[Frames]
) -> list[Row]:
    """The floor is that of rendered clips of the same prompts, as many of them, from other seeds."""
    reference = torch.cat(
        [
            bench.features(rendered_clips(scenes_of(said, bench.seed + 1_000_003 * (i + 1)), bench.made.size))
            for i in range(REFERENCE_SETS)
        ]
    )
    space = FeatureSpace.of(reference)
    model, floor, soft = (
        frechet_distance(space.place(bench.features(some)), space.place(reference))
        for some in (clips, rendered, softened_clips(rendered))
    )
    return [
        Row("Fréchet distance to rendered clips, judge's features", model, floor, len(clips)),
        Row("the same of rendered clips at half the resolution", None, soft, len(clips)),
    ]


def softened_clips(clips: Sequence[Frames]) -> list[Frames]:
    return [clip for some in groups(clips) for clip in to_clips(softened(to_tensor(some), SOFTENING).clamp(-1, 1))]


def smoothness_rows(clips: Sequence[Frames], rendered: Sequence[Frames]) -> list[Row]:
    names = {
        "flicker": "flicker score (Lumiere's clips: 0.972)",
        "jerk_ratio": "jerk ratio (Lumiere's clips: 1.48)",
        "first_to_last": "change from first frame to last, of 255",
        "peak_to_median": "largest step between frames, in median steps",
    }
    both = [smoothness_means(some) for some in (clips, rendered)]
    return [Row(text, both[0][name], both[1][name], len(clips)) for name, text in names.items()]


def smoothness_means(clips: Sequence[Frames]) -> dict[str, float | None]:
    each = [asdict(smoothness(clip)) for clip in clips]
    return {name: mean(values[name] for values in each) for name in Smoothness.__dataclass_fields__}


def direct_rows(
    bench: Bench, said: Sequence[dict[str, str]], clips: Sequence[Frames], rendered: Sequence[Frames]
) -> list[Row]:
    seen, true = measured(bench.finder, clips), measured(bench.finder, rendered)
    colour, motion, periodic = colour_agrees(said, seen), motion_agrees(said, seen), strengths(said, seen)
    return [
        Row("colour by the subject's pixels", mean(colour), mean(colour_agrees(said, true)), len(colour), "share"),
        Row("motion by the track", mean(motion), mean(motion_agrees(said, true)), len(motion), "share"),
        Row("likeness of the track one period on, of 1", mean(periodic), mean(strengths(said, true)), len(periodic)),
    ]


def prompt_swaps(bench: Bench) -> Section:
    """One attribute of a prompt is swapped for another, with the same seed: how far the video moves in the judge's
    features, in distances between videos of the same prompt with another seed; and whether it shows the new one.
    """
    rng = random.Random(bench.seed)
    drawn = sample_scenes(
        bench.some_prompts, torch.Generator().manual_seed(bench.seed), split=bench.split, plain_share=1.0
    )
    bases = core_names(drawn)
    swapped = {
        name: [
            {**base, name: rng.choice([value for value in ATTRIBUTES[name] if value != base[name]])} for base in bases
        ]
        for name in CORE
    }

    def videos(said: list[dict[str, str]], what: str, seed: int) -> list[Frames]:
        return [
            bench.made.video("text_to_video", sentence(named), seed + i)
            for i, named in enumerate(track(said, f"prompt-swaps: {what}"))
        ]

    def worlds(said: list[dict[str, str]], seed: int) -> list[Frames]:
        return rendered_clips(scenes_of(said, seed), bench.made.size)

    base, world = videos(bases, "as they are", bench.seed), worlds(bases, bench.seed)
    other, other_world = videos(bases, "other seeds", bench.seed + 1_000_003), worlds(bases, bench.seed + 1)
    still = apart(bench, base, other), apart(bench, world, other_world)
    base_shown, world_shown = bench.shown(base), bench.shown(world)
    rows: list[Row] = []
    records: list[dict[str, object]] = []
    for attribute, said in swapped.items():
        clips, world_clips = videos(said, attribute, bench.seed), worlds(said, bench.seed)
        shown, shown_world = bench.shown(clips), bench.shown(world_clips)
        follows = [
            mean(seen[attribute] == named[attribute] for named, seen in zip(said, answers, strict=True))
            for answers in (shown, shown_world)
        ]
        stays = [
            mean(all(seen[name] == old[name] for name in CORE if name != attribute) for seen, old in pairs)
            for pairs in (zip(shown, base_shown, strict=True), zip(shown_world, world_shown, strict=True))
        ]
        moves = apart(bench, base, clips) / still[0], apart(bench, world, world_clips) / still[1]
        rows += [
            Row.both(f"{attribute} swapped: shown", follows, len(said), "share"),
            Row.both(f"{attribute} swapped: the rest is as before", stays, len(said), "share"),
            Row.both(f"{attribute} swapped: change, in changes of seed", moves, len(said)),
        ]
        records += [
            {"prompt": sentence(named), "was": sentence(before), "swapped": attribute, "shows": seen}
            for before, named, seen in zip(bases, said, shown, strict=True)
        ]
    return Section(rows, records, [(sentence(named), clip) for named, clip in zip(bases, base, strict=True)])


def apart(bench: Bench, some: Sequence[Frames], others: Sequence[Frames]) -> float:
    """Mean distance of clips from their partners, in the judge's features."""
    return float((bench.features(some) - bench.features(others)).norm(dim=1).mean())


def diversity(bench: Bench) -> Section:
    """SEEDS videos for each prompt, and how far they lie apart."""
    prompts = drawn_prompts(max(2, bench.prompts // 16), bench.seed + 1, bench.split)
    rows: list[Row] = []
    sheet: list[tuple[str, Frames]] = []
    model: list[float] = []
    world: list[float] = []
    for prompt in track(prompts, "diversity"):
        clips = [bench.made.video("text_to_video", prompt.text, bench.seed + i) for i in range(SEEDS)]
        model.append(spread(bench.features(clips)))
        scenes = scenes_of([prompt.says] * SEEDS, bench.seed)
        world.append(spread(bench.features(rendered_clips(scenes, bench.made.size))))
        sheet += [(f"{prompt.text} ({i + 1})", clip) for i, clip in enumerate(clips)]
    count = SEEDS * len(prompts)
    rows.append(Row("distance of videos of one prompt, judge's features", mean(model), mean(world), count))
    return Section(
        rows, [{"prompt": prompt.text, "spread": own} for prompt, own in zip(prompts, model, strict=True)], sheet
    )
