"""Measures that must tell what a person sees, tried on clips whose truth is known."""

import numpy as np
import pytest
import torch
from einops import rearrange

from model.evaluation.judge import Judge, agreement, judged
from model.evaluation.measures import dominant_colour, smoothness, track
from model.evaluation.report import held_out_prompts, prompt_sheet
from model.training.scenes.attributes import ATTRIBUTES, is_held_out, scenes_from_names
from model.training.scenes.render import frame_times, render
from model.video_io import Frames


def rendered(**named: str) -> Frames:
    scenes = scenes_from_names([named], torch.Generator().manual_seed(11))
    frames = render(scenes, frame_times(40, 2))
    return rearrange(((frames + 1) * 127.5).round().to(torch.uint8), "1 c t h w -> t h w c").numpy()


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
    noise = np.random.default_rng(0).normal(128, 30, (40, 16, 16, 3)).clip(0, 255).astype(np.uint8)

    assert smoothness(still).flicker == 1
    assert smoothness(ramp).jerk_ratio == 0
    assert smoothness(ramp).first_to_last == 70
    assert smoothness(noise).jerk_ratio == pytest.approx(1.73, abs=0.05)


def test_the_judge_answers_for_clips_of_any_size_and_length() -> None:
    answers = judged(Judge().eval(), torch.rand(2, 3, 33, 48, 48) * 2 - 1)

    assert len(answers) == 2
    assert all(answer[name] in ATTRIBUTES[name] for answer in answers for name in ATTRIBUTES)


def test_agreement_counts_only_what_was_said() -> None:
    said = [{"colour": "red", "motion": "left"}, {"colour": "blue"}]
    shown = [{"colour": "red", "motion": "right"}, {"colour": "blue", "motion": "left"}]

    assert agreement(said, shown) == {"colour": 1.0, "motion": 0.0}


def test_prompts_of_the_evaluation_are_held_out() -> None:
    prompts = held_out_prompts(20, seed=5)
    index = {
        name: torch.tensor([ATTRIBUTES[name].index(prompt.says[name]) for prompt in prompts])
        for name in ("subject", "colour", "setting", "motion")
    }

    assert is_held_out(**index).all()


def test_a_sheet_has_a_row_per_prompt() -> None:
    clips = [np.full((10, 8, 8, 3), level, np.uint8) for level in (10, 200)]
    sheet = np.asarray(prompt_sheet(clips, ["dark", "bright"], scale=2))

    assert sheet.shape == (2 * (16 + 14), 8 * 16, 3)
    assert (sheet[14:30] == 10).all()
    assert (sheet[-16:] == 200).all()
