"""The designs that the benchmark compares: fresh ones leave the image model's frames as they are, and they differ in
time as they should.
"""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks.temporal_designs import (
    DESIGNS,
    FRAMES,
    PERIODIC,
    SHIPPED,
    STAGES,
    STRIDE,
    Kit,
    asked_for,
    attention_alone,
    filled_in,
    filling_in,
    kit_of,
    one_pass,
    outside,
    periods_of_the_world,
    schedule,
    slices,
    table,
)
from model.inflation import TemporalAttentionBlock, TemporalConvBlock, TemporalDownsample
from model.stunet import STUNet
from model.training.scenes.attributes import ATTRIBUTES, is_held_out


@pytest.fixture(scope="module")
def kit(tmp_path_factory) -> Kit:
    return kit_of(SHIPPED, tmp_path_factory.mktemp("designs"), seconds=1.0, steps=1)


def kinds(unet: STUNet, kind: type) -> int:
    return sum(isinstance(module, kind) for module in unet.modules())


def test_designs_differ_in_time_alone(kit) -> None:
    model = kit.model
    ours, attention = one_pass(model), attention_alone(model)
    clip = torch.randn(1, model.config.in_channels, 1, 8, 8).expand(-1, -1, 6, -1, -1)
    text = torch.randn(1, 5, model.config.cross_attention_dim)

    untold = torch.zeros(1, model.config.time_cond_proj_dim)  # frames that are told their moments differ

    frames = [unet(clip, 500.0, text, timestep_cond=untold).sample for unet in (ours, attention)]

    assert torch.allclose(*frames, atol=1e-5), "fresh temporal layers leave frames as the image model draws them"
    assert kinds(ours, TemporalConvBlock) > 0 < kinds(ours, TemporalDownsample)
    assert kinds(attention, TemporalConvBlock) == kinds(attention, TemporalDownsample) == 0
    assert kinds(attention, TemporalAttentionBlock) == kinds(ours, TemporalConvBlock) + kinds(
        ours, TemporalAttentionBlock
    )
    learns = {name for name, value in attention.named_parameters() if value.requires_grad}
    assert learns == {name for name, _ in attention.named_parameters() if "temporal_" in name}


def test_keyframes_stay_where_they_are(kit) -> None:
    keyframes = torch.rand(1, 3, FRAMES // STRIDE, 32, 32) * 2 - 1

    clip = filled_in(kit, filling_in(kit.model), ["a red ball"], keyframes)

    assert clip.shape == (1, 3, FRAMES, 32, 32)
    assert torch.allclose(clip[:, :, ::STRIDE], keyframes, atol=1e-5)


def test_a_budget_is_turned_into_steps_once(kit) -> None:
    first = STAGES[0]
    stage, unet = replace(first, data=replace(first.data, scenes=1, frames=3)), one_pass(kit.model)
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    planned = schedule(kit, stage, unet)
    plan = json.loads((kit.folder / stage.name / "steps.json").read_text())

    assert planned.steps == max(1, round(kit.seconds / plan["seconds_per_step"]))
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
    (kit.folder / stage.name / "steps.json").write_text(json.dumps({"steps": 77}))
    assert schedule(kit, stage, unet).steps == 77


def test_prompts_are_held_out_and_periodic() -> None:
    named = asked_for(2)
    fields = {
        name: torch.tensor([values.index(each.get(name, values[0])) for each in named])
        for name, values in ATTRIBUTES.items()
    }

    assert [each["motion"] for each in named] == [motion for motion in PERIODIC for _ in range(2)]
    assert is_held_out(fields).all()


def test_periods_are_held_against_those_of_the_world() -> None:
    shortest, longest = periods_of_the_world("orbiting", scenes=40)

    assert (shortest, longest) == (pytest.approx(2.2, abs=0.15), pytest.approx(3.4, abs=0.15))
    error = partial(outside, shortest=2.0, longest=3.0)
    assert [error(None), error(2.5), error(1.0), error(6.0)] == [1, 0, 1, 1]


def test_slices_and_table_have_a_place_for_every_design() -> None:
    named = asked_for(1)
    clips = [np.full((FRAMES, 32, 32, 3), level, np.uint8) for level in (30, 90, 150)]
    sheet = np.asarray(slices(named, dict.fromkeys(DESIGNS, clips)))

    assert sheet.shape == (3 * (2 * FRAMES + 16), 3 * (4 * 32 + 6), 3)
    assert {30, 90, 150} <= {int(level) for level in np.unique(sheet)}
    assert table([{"design": "one pass", "likeness": 0.5}]).splitlines()[1].split() == ["one", "pass", "0.500"]
