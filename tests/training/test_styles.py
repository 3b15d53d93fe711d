"""The styles that a model is shipped with, trained on a tiny one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.pipeline import LumierePipeline
from model.training.batches import BatchConfig, make_batch
from model.training.session import Schedule
from model.training.styles import StyleConfig, train_style
from tests.model import tiny

QUICK = StyleConfig(
    data=BatchConfig(scenes=4, frames=1, stills=True, seed=5),
    schedule=Schedule(steps=4, learning_rate=0.02, warmup=1, save_every=2, sample_every=4, ema_decay=0.5),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "TOKENS", 32)  # as many as the recipe's tokenizer makes
        return tiny.save_tiny_pipeline(tmp_path_factory.mktemp("model") / "tiny")


def test_a_style_is_trained_in_two_goes_and_found_beside_the_model(folder, tmp_path):
    half = replace(QUICK, schedule=replace(QUICK.schedule, steps=2))
    train_style(half, "Melting Gold", folder, tmp_path)
    first = (folder / "styles/melting-gold/weights.safetensors").read_bytes()

    path = train_style(QUICK, "melting-gold", folder, tmp_path)

    assert path.read_bytes() != first
    assert len(list(tmp_path.iterdir())) == 1, "the second went on where the first had stopped"
    pipeline = LumierePipeline.from_pretrained(folder, device="cpu")
    assert pipeline.styles == ["melting-gold"]
    options = {"height": 32, "width": 32, "num_frames": 2, "num_inference_steps": 2}
    styled = pipeline.text_to_video("a", style="Melting gold", **options).frames
    assert not np.array_equal(styled, pipeline.text_to_video("a", **options).frames)


def test_styles_that_the_world_has_not_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"^style must be one of watercolor, sticker, .*, got 'cubism'"):
        train_style(QUICK, "cubism", folder, tmp_path)


def test_batches_of_one_style_do_not_name_it():
    tokenizer, config = tiny.tiny_tokenizer(), BatchConfig(scenes=12, frames=1, stills=True, style="sticker")
    styled = make_batch(config, tokenizer, 0)
    plain = make_batch(replace(config, style="melting gold"), tokenizer, 0)

    assert torch.equal(styled.tokens, plain.tokens)
    assert not torch.equal(styled.frames, plain.frames)
