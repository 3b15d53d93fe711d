"""The procedural world: drawn from a seed, true to its captions, and never showing in training what is held out."""

import random
import re
from dataclasses import replace

import pytest
import torch

from model.training.scenes.attributes import (
    ATTRIBUTES,
    COLOURS,
    IN_PLACE_MOTIONS,
    MOTIONS,
    SETTINGS,
    STYLES,
    SUBJECTS,
    is_held_out,
    sample_scenes,
    scenes_from_names,
)
from model.training.scenes.captions import caption, captions
from model.training.scenes.motions import poses
from model.training.scenes.render import draw_subjects, frame_times, render, render_with_cover


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_world_is_as_wide_as_promised() -> None:
    assert len(SUBJECTS) >= 12
    assert {"ball", "cube", "star", "heart", "balloon", "boat", "fish", "bird", "rocket", "car", "knight"} <= {
        *SUBJECTS
    }
    assert len(COLOURS) >= 10
    assert len(SETTINGS) >= 8
    assert len(MOTIONS) >= 10
    assert {"plain", "watercolor", "sticker", "melting gold", "wooden blocks", "origami", "line drawing"} <= {*STYLES}


def test_same_seed_same_frames() -> None:
    first, second = (render(sample_scenes(6, seeded(5)), frame_times(3, 10)) for _ in range(2))

    assert torch.equal(first, second)
    assert first.shape == (6, 3, 3, 64, 64)


@pytest.mark.parametrize("style", STYLES)
def test_every_setting_and_subject_renders_in_every_style(style: str) -> None:
    named = [
        {"style": style, "subject": SUBJECTS[i % len(SUBJECTS)], "setting": SETTINGS[i % len(SETTINGS)]}
        for i in range(len(SUBJECTS))
    ]
    frames = render(scenes_from_names(named, seeded()), frame_times(2, 30), size=64)

    assert torch.isfinite(frames).all()
    assert frames.min() >= -1.001
    assert frames.max() <= 1.001
    assert (frames.flatten(1).std(1) > 0.05).all()


def test_held_out_combinations_are_a_tenth_and_never_drawn_for_training() -> None:
    def held(split: str) -> torch.Tensor:
        scenes = sample_scenes(3000, seeded(1), split=split, pair_share=0.5)  # type: ignore[arg-type]
        return is_held_out(vars(scenes))

    assert not held("train").any()
    assert held("held-out").all()
    assert 0.07 < held("any").float().mean() < 0.13


def test_every_pair_of_values_is_seen_in_training() -> None:
    scenes = sample_scenes(40_000, seeded(2), split="train")
    for first, second in (("subject", "colour"), ("subject", "motion"), ("colour", "setting"), ("setting", "motion")):
        pairs = {*zip(getattr(scenes, first).tolist(), getattr(scenes, second).tolist(), strict=True)}
        assert len(pairs) == len(ATTRIBUTES[first]) * len(ATTRIBUTES[second])


def track(motion: str, subject: str = "star") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Centroid x and y (t,) and area (t,) of what is drawn, as fractions of the frame."""
    scenes = scenes_from_names([{"motion": motion, "subject": subject}], seeded(3))
    times = frame_times(40, 2)[None]
    _, cover = draw_subjects(scenes, poses(scenes, times), times, 64)
    cover = cover[0, :, 0]
    line = (torch.arange(64) + 0.5) / 64
    area = cover.sum((1, 2))
    return (cover.sum(1) * line).sum(1) / area, (cover.sum(2) * line).sum(1) / area, area / 64**2


def test_subjects_move_as_their_motion_says() -> None:
    x, y, area = track("right")
    assert x[-1] - x[0] > 0.3
    assert abs(y[-1] - y[0]) < 0.05
    x, _, _ = track("left")
    assert x[0] - x[-1] > 0.3
    _, y, _ = track("rising")
    assert y[0] - y[-1] > 0.3
    _, y, _ = track("falling")
    assert y[-1] - y[0] > 0.3
    _, _, area = track("growing")
    assert area[-1] > 3 * area[0]
    _, _, area = track("shrinking")
    assert area[0] > 3 * area[-1]
    x, y, _ = track("bouncing")
    assert x.std() < 0.02
    assert y.max() - y.min() > 0.25
    x, y, _ = track("orbiting")
    assert min(x.max() - x.min(), y.max() - y.min()) > 0.35
    x, y, _ = track("swinging")
    assert x.max() - x.min() > 2 * (y.max() - y.min()) > 0.05
    x, y, area = track("still", "cube")
    assert max(x.std(), y.std()) < 0.005
    assert area.std() < 0.005


@pytest.mark.parametrize("paired", [False, True])
def test_what_spins_begins_upright_and_turns_clockwise_in_two_seconds(paired: bool) -> None:
    scenes = sample_scenes(64, seeded(3), pair_share=float(paired), turning_share=1.0)
    scenes = replace(scenes, motion=torch.full_like(scenes.motion, MOTIONS.index("spinning")))

    angles = poses(scenes, frame_times(80, 1).expand(64, -1)).angle

    turns = angles / (2 * torch.pi)
    torch.testing.assert_close(turns, (torch.arange(80) / 32).expand(64, -1))  # 16 frames a second


@pytest.mark.parametrize("paired", [False, True])
def test_what_bounces_begins_on_the_ground_and_falls_back_within_a_second_and_six_tenths(paired: bool) -> None:
    scenes = sample_scenes(64, seeded(6), pair_share=float(paired))
    scenes = replace(scenes, motion=torch.full_like(scenes.motion, MOTIONS.index("bouncing")))
    y = poses(scenes, frame_times(80)[None].expand(64, -1)).y
    assert torch.equal(y[:, 0], y.max(1).values)  # down is more
    back = (y[:, 8:] > y[:, :1] - 0.1 * (y[:, :1] - y.min(1, keepdim=True).values)).int().argmax(1) + 8
    assert back.min() > 13
    assert back.max() < 1.6 * 16


def test_legs_are_where_the_moment_says() -> None:
    scenes = scenes_from_names([{"subject": "knight", "motion": "spinning"}] * 2, seeded(6))
    times = torch.tensor([[0.0, 0.2, 0.4]]).expand(2, -1)
    still = replace(poses(scenes, times), **{name: torch.full_like(times, 0.5) for name in ("x", "y", "size")})
    still = replace(still, angle=torch.zeros_like(times), facing=torch.ones_like(times))
    _, cover = draw_subjects(scenes, still, times, 32)
    assert torch.equal(cover[0], cover[1])
    assert (cover[0, 0] - cover[0, 1]).abs().max() > 0.2


def test_a_subject_faces_right_unless_it_goes_left() -> None:
    scenes = scenes_from_names([{"subject": "car", "motion": motion} for motion in MOTIONS], seeded(4))
    facing = poses(scenes, frame_times(2)[None].expand(len(scenes), -1)).facing

    assert facing[:, 0].tolist() == [-1.0 if motion == "left" else 1.0 for motion in MOTIONS]


@pytest.mark.parametrize(("relation", "axis"), [("left of", 0), ("above", 1)])
def test_the_other_subject_is_where_the_relation_says(relation: str, axis: int) -> None:
    named = {"relation": relation, "motion": "bouncing", "other_subject": "cube", "other_colour": "blue"}
    scenes = scenes_from_names([{**named, "subject": "ball", "colour": "red", "setting": "desert"}], seeded(5))
    video = (render(scenes, frame_times(20, 4))[0] + 1) / 2
    red, blue = ((video[i] - video[[j for j in range(3) if j != i]].amax(0) > 0.35).float() for i in (0, 2))
    line = (torch.arange(64) + 0.5) / 64
    red_at, blue_at = ((mask.sum((0, 1 + axis)) * line).sum() / mask.sum() for mask in (red, blue))

    assert min(red.mean(), blue.mean()) > 0.02
    assert blue_at - red_at > 0.3


@pytest.mark.parametrize(("camera", "columns"), [("pan right", -1), ("pan left", 1)])
def test_what_stands_still_goes_the_other_way_than_the_camera(camera: str, columns: int) -> None:
    scenes = scenes_from_names([{"subject": "ball", "motion": "still", "camera": camera}], seeded(6))
    _, cover = render_with_cover(scenes, frame_times(2, 79))
    line = (torch.arange(64) + 0.5) / 64
    first, last = (cover[0, 0].sum(1) * line).sum(-1) / cover[0, 0].sum((1, 2))

    assert (last - first) * columns > 0.15


@pytest.mark.parametrize(("camera", "grows"), [("zoom in", True), ("zoom out", False)])
def test_a_camera_that_comes_closer_shows_things_larger(camera: str, grows: bool) -> None:
    scenes = scenes_from_names([{"subject": "cube", "motion": "still", "camera": camera}], seeded(7))
    first, last = render_with_cover(scenes, frame_times(2, 79))[1][0, 0].sum((1, 2))

    assert (last > 1.4 * first) if grows else (first > 1.4 * last)


def test_two_subjects_and_what_a_moving_camera_shows_keep_their_places() -> None:
    scenes = sample_scenes(500, seeded(8), pair_share=0.5, camera_share=0.5)
    for i in range(len(scenes)):
        named = scenes.names(i)
        alone = named["relation"] == "alone"
        assert (named["other_subject"] == "none") == (named["other_colour"] == "none") == alone
        assert named["other_subject"] != named["subject"]
        assert named["motion"] in IN_PLACE_MOTIONS or (alone and named["camera"] == "fixed")


def test_more_pairs_spin_on_demand_and_nothing_else_changes() -> None:
    usual, turning = (sample_scenes(3000, seeded(8), pair_share=0.5, turning_share=share) for share in (0.0, 0.4))

    pairs, spinning = usual.relation > 0, MOTIONS.index("spinning")
    assert torch.equal(turning.motion[~pairs], usual.motion[~pairs])
    assert (usual.motion[pairs] == spinning).float().mean().item() == pytest.approx(1 / 3, abs=0.04)
    assert (turning.motion[pairs] == spinning).float().mean().item() == pytest.approx(0.6, abs=0.04)


def test_both_sides_of_a_pair_are_told() -> None:
    named = {"subject": "ball", "colour": "red", "setting": "meadow", "motion": "still", "style": "plain"}
    pair = {**named, "relation": "above", "other_subject": "cube", "other_colour": "blue", "camera": "fixed"}
    rng = random.Random(1)
    texts = {caption(pair, rng, open_share=0.0).text.lower().strip(".") for _ in range(20_000)}

    assert "a red ball above a blue cube in a meadow" in texts
    assert "a blue cube below a red ball in a meadow" in texts
    assert not any("a red ball below a blue" in text for text in texts)


def test_captions_say_what_is_shown() -> None:
    scenes = sample_scenes(400, seeded(6), pair_share=0.3, camera_share=0.3)
    for i, sentence in enumerate(captions(scenes, random.Random(0))):
        named = scenes.names(i)
        assert sentence.says.items() <= named.items()
        assert sentence.text == sentence.text.strip()
        assert "  " not in sentence.text
        words = set(re.findall(r"[a-z]+", sentence.text.lower()))
        for opposite in ({"left": "right", "right": "left"}.get(named["motion"]),):
            if opposite and "from" not in words:
                assert opposite not in words


def test_the_two_page_prompts_are_inside_the_world() -> None:
    rng = random.Random(0)
    named = [
        {"subject": "car", "colour": "red", "setting": "mountain road", "motion": "right", "style": "plain"},
        {"subject": "knight", "colour": "red", "setting": "countryside", "motion": "right", "style": "plain"},
    ]
    texts = {caption(scene, rng).text.lower().strip(".") for scene in named for _ in range(20_000)}

    assert "a red car driving on a mountain road" in texts
    assert any("knight riding through the countryside" in text for text in texts)


def test_a_name_outside_the_world_is_refused() -> None:
    with pytest.raises(ValueError, match="colour: 'mauve' is not one of"):
        scenes_from_names([{"colour": "mauve"}], seeded())
