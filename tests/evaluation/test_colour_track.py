"""A subject is followed through a change of look, and nothing else is."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.evaluation.colour_track import colour_track, correlation
from model.evaluation.rendered import rendered_clips, rendered_cover
from model.training.scenes.attributes import Scenes, scenes_from_names
from model.video_io import Frames

STAR = {"subject": "star", "colour": "blue", "setting": "desert", "motion": "rising"}
HEART = {"subject": "heart", "colour": "pink", "setting": "beach", "motion": "bouncing"}
"""In its own place most of the time, so that the median of its frames shows it."""
SIZE = 32


def scene(named: dict[str, str], style: str = "plain") -> Scenes:
    return scenes_from_names([{**named, "style": style}], torch.Generator().manual_seed(3))


def clip(named: dict[str, str], style: str = "plain") -> Frames:
    return rendered_clips(scene(named, style), SIZE)[0]


def cover(named: dict[str, str]) -> NDArray[np.float32]:
    return rendered_cover(scene(named), SIZE)[0].numpy()


@pytest.mark.parametrize("named", [STAR, HEART], ids=lambda named: named["subject"])
@pytest.mark.parametrize("style", ["origami", "wooden blocks", "melting gold", "line drawing"])
def test_is_followed_in_another_look(named: dict[str, str], style: str) -> None:
    source = colour_track(clip(named), cover(named))
    assert correlation(colour_track(clip(named, style), cover(named)), source) > 0.98


def test_where_it_is_in_fractions_of_the_frame() -> None:
    where = cover(STAR)
    y = (where.sum(2) @ ((np.arange(SIZE) + 0.5) / SIZE)) / where.sum((1, 2))
    np.testing.assert_allclose(colour_track(clip(STAR), where)[:, 1], y, atol=0.05)


def test_what_goes_elsewhere_or_stands_still_does_not_correlate() -> None:
    where = cover(STAR)
    source = colour_track(clip(STAR), where)
    still = np.repeat(clip(STAR)[:1], len(where), axis=0)
    noise = np.random.default_rng(0).integers(0, 256, still.shape, np.uint8)
    for other in (still, noise, clip(STAR)[::-1], clip(HEART)):
        assert correlation(colour_track(other, where), source) < 0.8
