"""The stage that teaches the video model what is known, and the conditions that it draws."""

import json
import random
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from model.stunet import STUNet
from model.training.batches import BatchConfig
from model.training.conditioned import (
    CONDITIONS,
    ConditionedConfig,
    draw_conditions,
    foreign,
    train_conditioned_model,
)
from model.training.session import Schedule
from model.training.text_encoder import TextEncoderConfig, train_text_encoder
from model.training.video_model import Phase

SIZE = (16, 32, 32)


def masks(kind: str, count: int = 60) -> list[torch.Tensor]:
    return [CONDITIONS[kind](SIZE, random.Random(seed)) for seed in range(count)]


@pytest.mark.parametrize("kind", CONDITIONS)
def test_masks_are_of_zeros_and_ones_and_leave_something_to_be_made(kind):
    for mask in masks(kind):
        assert mask.shape == SIZE
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert mask.min() == 0
        assert kind == "none" or mask.max() == 1


def test_what_is_known_in_each_kind():
    for mask in masks("first frame"):
        assert mask.mean((1, 2)).tolist() == [1.0] + [0.0] * 15
    for mask in masks("keyframes"):
        whole = mask.mean((1, 2))
        assert set(whole.tolist()) == {0.0, 1.0}
        assert 2 <= whole.sum() <= 4
    for mask in masks("box"):
        assert torch.equal(mask, mask[:1].expand(SIZE))
        assert 0.4 < mask.mean() < 0.96
    assert any(not torch.equal(mask[0], mask[-1]) for mask in masks("tube"))
    for mask in masks("half-plane"):
        assert 0.25 < mask.mean() < 0.75
        rows, columns = mask[0].mean(1), mask[0].mean(0)
        assert {*rows.tolist()} == {0.0, 1.0} or {*columns.tolist()} == {0.0, 1.0}
    for mask in masks("cinemagraph"):
        assert mask[0].min() == 1
        assert mask[1].min() == 0


def test_all_kinds_are_drawn_about_as_often_as_asked_for():
    shares = ConditionedConfig().shares
    pixels = torch.rand(400, 3, 4, 8, 8)

    clips, known = draw_conditions(pixels, shares, random.Random(0))

    untouched = (clips == pixels).flatten(1).all(1)
    nothing = known.flatten(1).sum(1) == 0
    assert 1 - untouched.float().mean() == pytest.approx(shares["cinemagraph"], abs=0.07)
    assert nothing.float().mean() == pytest.approx(shares["none"], abs=0.07)


def test_a_cinemagraph_stands_still_where_it_is_known():
    pixels = torch.rand(4, 3, 6, 16, 16)

    clips, known = draw_conditions(pixels, {"cinemagraph": 1.0}, random.Random(0))

    still = clips[:, :, :1].expand_as(clips)
    where = known.expand_as(clips) == 1
    assert torch.equal(clips[where], still[where])
    assert torch.equal(clips[~where], pixels[~where])


def test_a_foreign_clip_moves_where_its_own_does_under_a_texture_that_stands_still():
    clip = torch.zeros(3, 4, 32, 32)
    clip[:, 1:, 8:16, 8:16] = 0.5

    made = foreign(clip, random.Random(3))

    moves = (made[:, 1:] != made[:, :1]).any(0).any(0)
    assert moves[8:16, 8:16].float().mean() > 0.9
    assert not moves[16:].any()
    assert made.min() >= -1
    assert made.max() <= 1
    assert made[:, 0].std() > 0.05
    assert torch.equal(made, foreign(clip, random.Random(3)))
    assert not torch.equal(made, foreign(clip, random.Random(4)))


def test_clips_of_which_nothing_is_known_are_never_foreign():
    pixels = torch.rand(40, 3, 2, 8, 8)

    alone, _ = draw_conditions(pixels, {"none": 1.0}, random.Random(0), foreign_share=1.0)
    begun, _ = draw_conditions(pixels, {"first frame": 1.0}, random.Random(0), foreign_share=0.5)

    assert torch.equal(alone, pixels)
    assert (begun != pixels).flatten(1).any(1).float().mean() == pytest.approx(0.5, abs=0.2)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A trained video model, or one that looks like it."""
    folder = tmp_path_factory.mktemp("run")
    train_text_encoder(
        TextEncoderConfig(sentences=300, vocabulary=600, width=16, layers=1, heads=1, steps=2, batch=8), folder
    )
    torch.manual_seed(0)
    image = UNet2DConditionModel(
        sample_size=16,
        in_channels=48,
        out_channels=48,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=1,
        cross_attention_dim=16,
    )
    STUNet.from_unet(image, temporal_attention_depth=1, temporal_conditioning=True).save_pretrained(folder / "unet")
    return folder


def test_the_loss_falls_and_only_temporal_layers_change(run: Path):
    """One batch, over and over: 40 steps of the first-frame condition are enough to learn to copy from it."""
    schedule = Schedule(steps=50, learning_rate=4e-3, warmup=2, save_every=1000, sample_every=1000, ema_decay=0.5)
    data = BatchConfig(scenes=2, frames=3, stride=20)
    config = ConditionedConfig(shares={"first frame": 0.5, "box": 0.5}, phases=(Phase("short", data, schedule),))

    train_conditioned_model(config, run)

    log = [json.loads(line)["loss"] for line in (run / "stage3-short" / "log.jsonl").read_text().splitlines()]
    assert log[-1] < log[0]
    before, after = (
        load_file(run / name / "diffusion_pytorch_model.safetensors") for name in ("unet", "unet_conditioned")
    )
    changed = {name for name in after if name not in before or not torch.equal(before[name], after[name])}
    assert changed
    assert all("temporal_" in name for name in changed)
    assert after["temporal_embedding_known.weight"].shape == (8, 64, 3, 3)
    assert after["temporal_embedding_known.weight"].abs().max() > 0
    assert after["temporal_embedding_copy.weight"].abs().max() > 0


def test_it_begins_with_the_temporal_layers_of_one_model_on_the_image_layers_of_another(run: Path, tmp_path: Path):
    finished = STUNet.from_pretrained(run / "unet").with_known_input(64, copy=True)
    with torch.no_grad():
        for parameter in finished.parameters():
            parameter.fill_(0.25)
    finished.save_pretrained(tmp_path / "finished" / "unet")
    for name in ("text_encoder", "tokenizer"):
        (tmp_path / name).symlink_to(run / name)
    image = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(run / "unet"))
    image.save_pretrained(tmp_path / "unet2d")
    schedule = Schedule(steps=0, learning_rate=1e-3)
    config = ConditionedConfig(phases=(Phase("none", BatchConfig(scenes=1, frames=2), schedule),))

    train_conditioned_model(config, tmp_path, start_from=tmp_path / "finished")

    weights = load_file(tmp_path / "unet_conditioned" / "diffusion_pytorch_model.safetensors")
    drawn = image.state_dict()
    assert drawn.keys() < weights.keys()
    for name, value in weights.items():
        assert torch.equal(value, drawn[name] if name in drawn else torch.full_like(value, 0.25)), name
