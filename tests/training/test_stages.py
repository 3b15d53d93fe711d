"""Every stage of the recipe, tiny: it runs, resumes where it stopped, and leaves frozen what is frozen."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.training.batches import BatchConfig, make_batch
from model.training.flow import flow_loss, noised, sample_times
from model.training.image_model import ImageModelConfig, train_image_model
from model.training.scenes.attributes import ATTRIBUTES
from model.training.session import Schedule
from model.training.text_encoder import TextEncoderConfig, load_text_encoder, tokenize, train_text_encoder
from model.training.video_model import Phase, VideoModelConfig, train_video_model

TEXT = TextEncoderConfig(sentences=300, vocabulary=600, width=16, layers=1, heads=1, steps=3, batch=8)
SCHEDULE = Schedule(steps=6, learning_rate=2e-3, warmup=1, save_every=2, sample_every=100)
IMAGES = ImageModelConfig(
    channels=(8, 16, 16),
    head_width=16,
    text_width=16,
    data=BatchConfig(scenes=3, frames=2, stills=True),
    schedule=SCHEDULE,
)
VIDEOS = VideoModelConfig(
    phases=(Phase("short", BatchConfig(scenes=2, frames=5, stride=4), replace(SCHEDULE, steps=4)),)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    accuracy = train_text_encoder(TEXT, folder)
    assert set(accuracy) == set(ATTRIBUTES)
    train_image_model(IMAGES, folder)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "unet2d" / "diffusion_pytorch_model.safetensors")


def test_any_words_have_a_tokenization(run: Path) -> None:
    _, tokenizer = load_text_encoder(run)
    tokens = tokenize(tokenizer, ["a Zürich tram, 空 🙂", "", "red " * 200])

    assert tokens.shape == (3, 32)
    assert tokenizer.unk_token_id is None
    assert tokens[2, -1] == tokenizer.eos_token_id


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(run: Path, tmp_path: Path) -> None:
    for name in ("text_encoder", "tokenizer"):
        (tmp_path / name).symlink_to(run / name)
    train_image_model(IMAGES, tmp_path, stop_after=0.0)
    assert not torch.equal(weights(tmp_path)["conv_in.weight"], weights(run)["conv_in.weight"])

    train_image_model(replace(IMAGES, schedule=replace(SCHEDULE, steps=6)), tmp_path)

    broken, whole = weights(tmp_path), weights(run)
    assert all(torch.equal(broken[name], whole[name]) for name in whole)


def test_the_video_stage_changes_temporal_layers_only(run: Path) -> None:
    train_video_model(VIDEOS, run)
    inflated = load_file(run / "unet" / "diffusion_pytorch_model.safetensors")
    before = weights(run)

    assert all(torch.equal(inflated[name], before[name]) for name in before)
    new = {name for name in inflated if name not in before}
    assert new
    assert all("temporal_" in name for name in new)
    assert inflated["mid_block.temporal_blocks.0.proj_out.weight"].abs().max() > 0


def test_batches_are_a_function_of_seed_and_index(run: Path) -> None:
    _, tokenizer = load_text_encoder(run)
    config = BatchConfig(scenes=2, frames=4, stride=20)
    first, again, other = (make_batch(config, tokenizer, index) for index in (7, 7, 8))

    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.frames, other.frames)
    assert first.frames.shape == (2, 3, 4, 32, 32)
    assert first.salience.min() == 1
    assert first.salience.max() > 3


@pytest.mark.parametrize("anywhere", [False, True])
def test_batches_tell_the_moments_of_their_frames(run: Path, anywhere: bool) -> None:
    _, tokenizer = load_text_encoder(run)
    config = BatchConfig(scenes=64, frames=3, stride=7, anywhere=anywhere)

    stills = make_batch(replace(config, stills=True), tokenizer, 0).moments
    moments = make_batch(config, tokenizer, 0).moments

    assert stills.min() < 8 < 72 < stills.max() < 80
    torch.testing.assert_close(moments.diff(dim=1), torch.full((64, 2), 7.0))
    assert (moments[:, 0].max() > 40) == anywhere
    assert anywhere or (moments[:, 0] == 0).all()


def test_the_loss_is_the_velocity_error_up_to_its_cap() -> None:
    clean, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    t = torch.tensor([0.5, 0.8])
    guess = clean + 0.1 * torch.randn_like(clean)
    x = noised(clean, noise, t)
    velocity = (x - guess) / t.view(-1, 1, 1)
    true_velocity = noise - clean

    loss = flow_loss(guess, clean, t, torch.ones(()))

    assert loss == pytest.approx((velocity - true_velocity).square().mean().item(), rel=1e-4)
    assert flow_loss(clean + 1, clean, torch.tensor([0.01, 0.01]), torch.ones(())) == pytest.approx(10.0)


def test_noise_levels_lean_to_noise_with_shift() -> None:
    generator = torch.Generator().manual_seed(0)
    plain, shifted = sample_times(4000, 1.0, generator), sample_times(4000, 3.0, generator)

    assert plain.min() > 0
    assert shifted.max() < 1
    assert plain.median() == pytest.approx(0.5, abs=0.03)
    assert shifted.median() == pytest.approx(0.75, abs=0.03)
