"""The super-resolution stage, tiny: it starts from interpolation, learns, and resumes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from model.super_resolution import SuperResolution
from model.training.batches import BatchConfig
from model.training.image_model import ImageModelConfig, build_image_unet
from model.training.session import Schedule
from model.training.super_resolution import (
    SuperResolutionConfig,
    build_network,
    degraded,
    low_resolution,
    random_square,
    redraw,
    sharpness,
    train_super_resolution,
)
from model.training.text_encoder import TextEncoderConfig, train_text_encoder

CONFIG = SuperResolutionConfig(
    channels=(16, 16),
    head_width=16,
    text_width=16,
    crop=32,
    data=BatchConfig(scenes=2, frames=2, stride=4, size=64, seed=3),
    schedule=Schedule(steps=50, learning_rate=4e-3, warmup=5, save_every=1000, sample_every=1000, ema_decay=0.9),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_text_encoder(
        TextEncoderConfig(sentences=300, vocabulary=600, width=16, layers=1, heads=1, steps=2, batch=8), folder
    )
    image_model = ImageModelConfig(channels=(16, 16), head_width=16, text_width=16)
    build_image_unet(image_model).save_pretrained(folder / "unet2d")
    return folder


def test_it_begins_as_interpolation_and_learns(run):
    untrained = train_super_resolution(replace(CONFIG, schedule=replace(CONFIG.schedule, steps=0)), run)
    assert untrained["super-resolution"].psnr == pytest.approx(untrained["bicubic"].psnr, abs=1.0)

    train_super_resolution(CONFIG, run, stop_after=0.0)
    trained = train_super_resolution(CONFIG, run)

    log = [json.loads(line)["loss"] for line in (run / "super-resolution" / "log.jsonl").read_text().splitlines()]
    assert log[-1] < log[0]
    assert trained["super-resolution"].sharpness > trained["bicubic"].sharpness
    saved = SuperResolution.from_pretrained(run / "super_resolution")
    assert (saved.config.scale, saved.config.patch_size) == (8, 8)


def test_it_goes_on_from_a_finished_models_super_resolution(run, tmp_path):
    for name in ("text_encoder", "tokenizer", "unet2d"):
        (tmp_path / name).symlink_to(run / name)
    finished = build_network(CONFIG)
    with torch.no_grad():
        finished.conv_out.weight.fill_(0.01)
    finished.to(torch.bfloat16).save_pretrained(tmp_path / "finished" / "super_resolution")

    untrained = replace(CONFIG, schedule=replace(CONFIG.schedule, steps=0))
    train_super_resolution(untrained, tmp_path, start_from=tmp_path / "finished")

    begun = SuperResolution.from_pretrained(tmp_path / "super_resolution")
    assert begun.dtype == torch.float32
    for name, value in begun.state_dict().items():
        assert torch.equal(value, finished.state_dict()[name].float()), name


def test_every_frame_is_redrawn_at_the_level_and_with_the_noise_of_its_clip(run):
    painter = UNet2DConditionModel.from_pretrained(run / "unet2d").eval()
    low = torch.rand(2, 3, 3, 16, 16) * 2 - 1
    text = torch.zeros(2, 32, 16)
    noise = torch.randn(2, 48, 4, 4)

    drawn = redraw(painter, low, torch.tensor([0.1, 0.6]), text, noise)
    first_alone = redraw(painter, low[:1, :, :1], torch.tensor([0.1]), text[:1], noise[:1])

    assert drawn.shape == low.shape
    assert torch.allclose(drawn[:1, :, :1], first_alone, atol=1e-5)
    assert drawn.abs().max() <= 1


def test_crops_lie_on_whole_cells():
    config = replace(CONFIG, crop=32, data=replace(CONFIG.data, size=256))
    seen = set()
    for seed in range(100):
        low, (_, rows, columns) = random_square(config, torch.Generator().manual_seed(seed))
        assert rows.start % 8 == columns.start % 8 == 0
        assert low == (..., slice(rows.start // 8, rows.stop // 8), slice(columns.start // 8, columns.stop // 8))
        assert rows.stop - rows.start == columns.stop - columns.start == 32
        assert rows.start >= 0 and columns.stop <= 256
        seen.add((rows.start, columns.start))
    assert len(seen) > 80


def test_the_low_resolution_is_made_worse_as_far_as_is_said():
    low = low_resolution(torch.rand(2, 3, 2, 64, 64), 4)
    generator = torch.Generator().manual_seed(0)

    same = degraded(low, torch.zeros(2), torch.zeros(2), generator)
    noisy = degraded(low, torch.zeros(2), torch.tensor([0.0, 0.3]), generator)
    soft = degraded(low, torch.tensor([0.0, 1.0]), torch.zeros(2), generator)

    assert low.shape == (2, 3, 2, 16, 16)
    assert torch.equal(same, low)
    assert torch.equal(noisy[0], low[0])
    assert (noisy[1] - low[1]).std() == pytest.approx(0.3, rel=0.1)
    assert soft[1].std() < 0.6 * low[1].std()


def test_the_measure_tells_sharp_from_soft():
    true = torch.rand(1, 3, 2, 32, 32) * 2 - 1
    soft = torch.nn.functional.avg_pool3d(true, (1, 3, 3), 1, (0, 1, 1))

    assert sharpness(true, true) == (100.0, 1.0)
    assert sharpness(soft, true).sharpness < 0.5
    assert sharpness(true + 0.2, true).psnr == pytest.approx(20.0, abs=0.01)
