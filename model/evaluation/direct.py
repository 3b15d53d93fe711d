"""The direct measurements of whole sets of clips, beside what was said or rendered."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator

from model.evaluation.finder import Finder, found
from model.evaluation.judge_training import can_be_told
from model.evaluation.rendered import FRAMES, rendered_clips, to_tensor
from model.evaluation.section import Row, mean
from model.evaluation.subject import Track, colour_of, motion_of, period_of, track_of
from model.training.scenes.attributes import Scenes, sample_scenes
from model.training.scenes.motions import CLIP_SECONDS, poses
from model.training.scenes.render import FRAME_RATE
from model.video_io import Frames

ONE_WAY = ("left", "right", "rising", "falling")
MEASURED = (*ONE_WAY, "growing", "shrinking", "bouncing", "orbiting", "swinging")
IN_PLACE = ("spinning", "still")
LONG = 4
"""Clip lengths over which the truth of a period is looked up."""


@dataclass(frozen=True)
class Measured:
    """What geometry says of one clip. period: seconds; strength: how well the track repeats itself. growth: size at
    the end over that at the beginning.
    """

    colour: str
    motion: str
    period: float | None
    strength: float
    growth: float


def measured(finder: Finder, clips: Sequence[Frames]) -> list[Measured]:
    """Clips of any length that span CLIP_SECONDS."""
    results = []
    for clip in clips:
        frames, cover = (each[0] for each in found(finder, to_tensor([clip])))
        track = track_of(cover)
        period = period_of(track, fps=len(clip) / CLIP_SECONDS)
        tenth = max(1, len(clip) // 10)
        growth = track.size[-tenth:].mean() / track.size[:tenth].mean().clamp(min=1e-3)
        results.append(
            Measured(colour_of(frames, cover), motion_of(track), period.seconds, period.strength, float(growth))
        )
    return results


def as_measured(motion: str) -> str | None:
    """What a motion of the world is to geometry; None where it says nothing about it."""
    return "in place" if motion in IN_PLACE else motion if motion in MEASURED else None


def colour_agrees(said: Sequence[dict[str, str]], seen: Sequence[Measured]) -> list[bool]:
    """For clips whose colour is said and can be told."""
    pairs = zip(said, seen, strict=True)
    return [
        each.colour == named["colour"] for named, each in pairs if "colour" in named and can_be_told("colour", named)
    ]


def motion_agrees(said: Sequence[dict[str, str]], seen: Sequence[Measured]) -> list[bool]:
    wanted = [as_measured(named.get("motion", "")) for named in said]
    return [each.motion == motion for motion, each in zip(wanted, seen, strict=True) if motion is not None]


def strengths(said: Sequence[dict[str, str]], seen: Sequence[Measured]) -> list[float]:
    """How well tracks repeat themselves that should: a period in five seconds or less."""
    return [
        each.strength
        for named, each in zip(said, seen, strict=True)
        if named.get("motion") in ("bouncing", "orbiting", "swinging")
    ]


def true_tracks(scenes: Scenes, lengths: int = 1) -> list[Track]:
    times = (torch.arange(FRAMES * lengths) / FRAME_RATE).expand(len(scenes), -1)
    pose = poses(scenes, times)
    return [Track(pose.x[i], pose.y[i], pose.size[i]) for i in range(len(scenes))]


def direct_accuracy(finder: Finder, clips: int, seed: int, size: int) -> list[Row]:
    """What the direct measurements are worth: on rendered clips of `size` pixels, whose truth is known."""
    scenes = sample_scenes(clips, Generator().manual_seed(seed), split="any", plain_share=0.6)
    named = [scenes.names(i) for i in range(clips)]
    seen = measured(finder, rendered_clips(scenes, size))
    truth = [period_of(track, FRAME_RATE).seconds for track in true_tracks(scenes, LONG)]
    periods = [(each.period, true) for each, true in zip(seen, truth, strict=True) if true is not None]
    errors = sorted(abs(period / true - 1) for period, true in periods if period is not None)
    grown = [track.size[-8:].mean() / track.size[:8].mean() for track in true_tracks(scenes)]
    resized = [
        abs(each.growth / float(true) - 1)
        for each, true, names in zip(seen, grown, named, strict=True)
        if names["motion"] in ("growing", "shrinking")
    ]
    colour, motion = colour_agrees(named, seen), motion_agrees(named, seen)
    ways = [
        each.motion == names["motion"] for each, names in zip(seen, named, strict=True) if names["motion"] in ONE_WAY
    ]
    return [
        Row("colour of the subject's pixels", None, mean(colour), len(colour), "share"),
        Row("direction of the track", None, mean(ways), len(ways), "share"),
        Row("motion by the track", None, mean(motion), len(motion), "share"),
        Row("period found", None, mean(period is not None for period, _ in periods), len(periods), "share"),
        Row("error of the period, median", None, errors[len(errors) // 2] if errors else None, len(errors), "share"),
        Row("error of growth, mean", None, mean(resized), len(resized), "share"),
    ]
