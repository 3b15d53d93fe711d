"""Measures that must tell what a person sees, tried on clips whose truth is known."""

import numpy as np
import pytest
import torch
from einops import rearrange

from model.evaluation.measures import (
    EXACT_DB,
    dominant_colour,
    first_step_ratio,
    psnr,
    seam_ratio,
    smoothness,
    still_psnr,
    track,
)
from model.training.scenes.attributes import scenes_from_names
from model.training.scenes.render import frame_times, render
from model.video_io import Frames


def rendered(**named: str) -> Frames:
    scenes = scenes_from_names([named], torch.Generator().manual_seed(11))
    frames = render(scenes, frame_times(40, 2))
    return rearrange(((frames + 1) * 127.5).round().to(torch.uint8), "1 c t h w -> t h w c").numpy()


def noise(frames: int = 40) -> Frames:
    return np.random.default_rng(0).normal(128, 30, (frames, 16, 16, 3)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", ["red", "yellow", "purple", "cyan"])
def test_the_colour_of_what_moves(colour: str) -> None:
    clip = rendered(subject="heart", colour=colour, setting="desert", motion="right", style="plain")

    assert dominant_colour(clip) == colour


def test_the_track_of_what_moves() -> None:
    path = track(rendered(subject="ball", colour="red", setting="beach", motion="rising", style="plain"))

    assert path[0, 1] - path[-1, 1] > 0.25
    assert abs(path[0, 0] - path[-1, 0]) < 0.1


def test_smoothness_of_stillness_steady_change_and_noise() -> None:
    still = np.full((8, 16, 16, 3), 90, np.uint8)
    ramp = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.full((1, 16, 16, 3), 10, np.uint8)

    assert smoothness(still).flicker == 1
    assert smoothness(ramp).jerk_ratio == 0
    assert smoothness(ramp).first_to_last == 70
    assert smoothness(ramp).peak_to_median == pytest.approx(1)
    assert smoothness(noise()).jerk_ratio == pytest.approx(1.73, abs=0.05)


def test_a_cut_is_the_largest_step() -> None:
    ramp = np.arange(80, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    cut = ramp.copy()
    cut[40:] += 60

    assert smoothness(cut).peak_to_median > 10


def test_psnr() -> None:
    grey = np.full((2, 4, 4, 3), 100, np.uint8)

    assert psnr(grey, grey) == EXACT_DB
    assert psnr(grey, grey + np.uint8(255 - 100)) == pytest.approx(20 * np.log10(255 / 155))


def test_a_seam_is_where_a_region_does_not_match_what_is_around_it() -> None:
    region = np.zeros((16, 16), bool)
    region[4:12, 4:12] = True
    seamless = noise()
    pasted = np.where(region[..., None], seamless // 2, seamless)

    assert seam_ratio(seamless, region) == pytest.approx(1, abs=0.1)
    assert seam_ratio(pasted, region) > 2
    with pytest.raises(ValueError, match="region must have a border"):
        seam_ratio(seamless, np.ones((16, 16), bool))


def test_the_first_step_of_a_video_that_leaves_its_image() -> None:
    steady = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    leaving = steady.copy()
    leaving[1:] += 30

    assert first_step_ratio(steady) == 1
    assert first_step_ratio(leaving) == 31


class TestStillPsnr:
    def test_only_what_stands_still_counts_and_the_first_frame_does_not(self):
        true = np.full((4, 8, 8, 3), 100, np.uint8)
        true[1:, :4] = 200  # moves
        clip = true.copy()
        clip[:, :4] = 0
        clip[0] = 0
        clip[1:, 4:] = 110

        assert still_psnr(clip, true) == pytest.approx(20 * np.log10(255 / 10))

    def test_a_clip_in_which_nothing_stays_has_none(self):
        true = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (0, 100, 200)])

        assert np.isnan(still_psnr(true, true))
