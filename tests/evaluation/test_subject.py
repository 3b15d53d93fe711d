"""Colour, track, direction, size and period of subjects whose truth is known."""

import math

import pytest
import torch
from torch import Tensor

from model.evaluation.direct import as_measured, direct_accuracy, true_tracks
from model.evaluation.finder import found, load_finder, overlap
from model.evaluation.rendered import rendered_clips, scenes_of, to_tensor
from model.evaluation.subject import Track, colour_of, direction_of, motion_of, period_of, resizing_of, track_of
from model.training.scenes.attributes import COLOURS, MOTIONS

SECONDS = torch.arange(80) / 16
STILL = torch.full((80,), 0.5)


def moving(x: Tensor = STILL, y: Tensor = STILL, size: Tensor = STILL) -> Track:
    return Track(x, y, size)


@pytest.mark.parametrize("colour", COLOURS)
def test_colour_with_an_outline_and_a_pale_ground(colour: str) -> None:
    frames = torch.full((3, 2, 16, 16), 0.8)
    cover = torch.zeros(2, 16, 16)
    cover[:, 2:14, 2:14] = 1
    frames[:, :, 2:14, 2:14] = -0.9
    frames[:, :, 3:13, 3:13] = (torch.tensor(COLOURS[colour]) * 0.9 * 2 - 1)[:, None, None, None]

    assert colour_of(frames, cover) == colour


def test_the_track_of_a_square() -> None:
    cover = torch.zeros(4, 16, 16)
    for t in range(4):
        cover[t, 4:8, 2 * t : 2 * t + 4] = 1
    cover[3] = 0  # gone

    track = track_of(cover)

    assert track.x[:3].tolist() == pytest.approx([2 / 16, 4 / 16, 6 / 16])
    assert track.y.tolist() == pytest.approx([6 / 16] * 4)
    assert track.x[3] == pytest.approx(4 / 16)
    assert track.size.tolist() == pytest.approx([0.25, 0.25, 0.25, 0])


@pytest.mark.parametrize("period", [0.9, 1.45, 2.3, 3.3])
def test_periods_of_a_circle_and_of_a_bounce(period: float) -> None:
    turn = 2 * math.pi * SECONDS / period + 0.4
    circle = moving(0.5 + 0.2 * turn.cos(), 0.5 + 0.2 * turn.sin())
    bounce = moving(y=0.7 - 0.4 * (turn / 2).sin().abs())

    assert period_of(circle, 16).seconds == pytest.approx(period, rel=0.02)
    assert period_of(bounce, 16).seconds == pytest.approx(period, rel=0.02)
    assert period_of(circle, 16).strength > 0.95


def test_what_does_not_repeat_has_no_period() -> None:
    steps = torch.randn(80, generator=torch.Generator().manual_seed(3)) * 0.1

    assert period_of(moving(x=SECONDS / 5), 16).seconds is None
    assert period_of(moving(x=0.5 + steps), 16).seconds is None
    assert period_of(moving(), 16).seconds is None


def test_ways_and_sizes() -> None:
    across = 0.2 + 0.5 * SECONDS / 5

    assert direction_of(moving(x=across)) == "right"
    assert direction_of(moving(x=1 - across)) == "left"
    assert direction_of(moving(y=across)) == "falling"
    assert direction_of(moving(y=1 - across)) == "rising"
    assert direction_of(moving(x=0.5 + 0.2 * (6 * SECONDS).sin())) is None
    assert resizing_of(moving(size=across)) == "growing"
    assert resizing_of(moving(size=0.9 - across)) == "shrinking"
    assert resizing_of(moving(size=0.3 + 0.05 * (SECONDS / 5))) is None


def test_every_motion_of_the_world_is_told_by_its_true_track() -> None:
    named = [{"motion": motion, "subject": "star"} for motion in MOTIONS]

    seen = [motion_of(track) for track in true_tracks(scenes_of(named, 5))]

    assert seen == [as_measured(motion) or shown for motion, shown in zip(MOTIONS, seen, strict=True)]


def test_the_finder_finds_subjects_and_what_is_measured_on_them_is_right() -> None:
    finder = load_finder()
    rows = {row.measure: row.rendered or 0 for row in direct_accuracy(finder, clips=16, seed=99, size=32)}

    assert overlap(finder, frames=64, seed=98) > 0.85
    assert rows["colour of the subject's pixels"] > 0.85
    assert rows["motion by the track"] > 0.85
    assert rows["error of the period, median"] < 0.03


def test_a_clip_may_be_of_any_size_and_length() -> None:
    clip = rendered_clips(scenes_of([{"subject": "ball", "motion": "right"}], 1), 48)[0][::3]
    frames, cover = found(load_finder(), to_tensor([clip]))

    assert frames.shape == (1, 3, len(clip), 32, 32)
    assert cover.shape == (1, len(clip), 32, 32)
    assert direction_of(track_of(cover[0])) == "right"
