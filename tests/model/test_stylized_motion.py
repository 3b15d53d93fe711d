"""The shipped model draws a video anew, and what moves in it still goes the same way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.evaluation.colour_track import colour_track, correlation
from model.evaluation.rendered import to_clips
from model.pipeline import LumierePipeline
from model.training.scenes.attributes import scenes_from_names
from model.training.scenes.render import frame_times, render_with_cover

SHIPPED = Path(__file__).parents[2] / "model" / "weights" / "lumiere-mini"
FRAMES, SIZE = 40, 64


@pytest.fixture(scope="module")
def shipped():
    pipeline = LumierePipeline.from_pretrained(SHIPPED, device="cpu")
    pipeline.card["upscale"] = "bicubic"
    return pipeline


@pytest.mark.parametrize("look", ["made of wooden blocks", "origami style"])
def test_motion_is_kept_and_the_look_changes(shipped, look):
    says = {"subject": "ball", "colour": "red", "setting": "meadow", "motion": "right", "style": "plain"}
    scenes = scenes_from_names([says], torch.Generator().manual_seed(7_000_000))
    video, cover = render_with_cover(scenes, frame_times(FRAMES), SIZE)
    (source,) = to_clips(video)
    where = cover[0, 0].numpy()

    made = shipped.stylize(f"a red ball moving right in a meadow, {look}", video=source, height=SIZE, width=SIZE).frames

    assert correlation(colour_track(made, where), colour_track(source, where)) > 0.9
    assert np.abs(made.astype(float) - source).mean() > 15
