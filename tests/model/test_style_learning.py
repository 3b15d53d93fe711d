"""A style from one picture: learned beside the pipeline, stored, and used."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.backbones.inflate import inflate_folder
from model.denoising import InvalidOutput
from model.image_model import image_model
from model.pipeline import LumierePipeline
from model.style_learning import StyleSettings, learn_style
from tests.backbones.folders import make_image_pipeline
from tests.model.tiny import save_tiny_pipeline, tiny_pipeline

QUICK = StyleSettings(steps=6, pictures=4, learning_rate=0.02)
SMALL = {"height": 32, "width": 32, "num_inference_steps": 2, "num_frames": 3}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> LumierePipeline:
    return LumierePipeline.from_pretrained(save_tiny_pipeline(tmp_path_factory.mktemp("m") / "tiny"), device="cpu")


@pytest.fixture(scope="module")
def stripes() -> np.ndarray:
    picture = np.zeros((40, 70, 3), np.uint8)
    picture[::4] = (250, 120, 0)
    return picture


@pytest.fixture(scope="module")
def learned(pipeline, stripes, tmp_path_factory):
    return pipeline.learn_style(stripes, tmp_path_factory.mktemp("style") / "weights.safetensors", settings=QUICK)


def test_the_image_model_is_the_video_model_without_its_temporal_layers():
    pipeline = tiny_pipeline()
    unet, states = pipeline.unet, torch.randn(1, 5, 32)
    for name, parameter in unet.named_parameters():
        if "temporal_" in name and name.endswith(("weight", "bias")):
            torch.nn.init.zeros_(parameter)  # nothing is added to the spatial layers
    unet = type(unet).from_unet(image_model(pipeline.unet), temporal_attention_depth=1, temporal_conditioning=True)
    frame = torch.randn(1, 48, 1, 8, 8)
    with torch.no_grad():
        picture = image_model(unet)(frame[:, :, 0], 500, states).sample
        video = unet(frame, torch.tensor([500]), states).sample

    assert torch.allclose(picture, video[:, :, 0], atol=1e-5)


def test_a_learned_style_changes_the_video_as_far_as_asked(pipeline, learned):
    plain = pipeline.text_to_video("a", **SMALL).frames

    def styled(strength: float) -> np.ndarray:
        return pipeline.text_to_video("a", style=learned, style_strength=strength, **SMALL).frames.astype(float)

    assert np.array_equal(styled(0.0), plain)
    half, full = (np.abs(styled(strength) - plain).mean() for strength in (0.5, 1.0))
    assert 0 < half < full
    assert np.array_equal(pipeline.text_to_video("a", **SMALL).frames, plain)


def test_a_share_of_what_was_learned_is_kept(pipeline, stripes, tmp_path):
    def learned_at(share: float) -> dict[str, torch.Tensor]:
        path = tmp_path / f"{share}.safetensors"
        return load_file(learn_style(pipeline, stripes, path, settings=replace(QUICK, share=share)))

    half, whole = learned_at(0.5), learned_at(1.0)

    for name, value in whole.items():
        assert torch.equal(half[name], value / 2 if ".lora_B." in name else value)


def test_the_word_is_kept_as_strong_as_its_gain_says(pipeline, stripes, tmp_path):
    def learned_at(gain: float) -> dict[str, torch.Tensor]:
        path = tmp_path / f"{gain}.safetensors"
        return load_file(learn_style(pipeline, stripes, path, settings=replace(QUICK, word_gain=gain)))

    found, doubled = learned_at(1.0), learned_at(2.0)

    assert found["word"].abs().max() > 0
    for name, value in found.items():
        assert torch.equal(doubled[name], 2 * value if name == "word" else value)


def test_the_word_is_put_to_prompts_and_not_to_negative_ones(pipeline, learned, monkeypatch):
    told = []

    def watched(sample, timesteps, **condition):
        told.append(condition["encoder_hidden_states"].clone())
        return LumierePipeline.predict(pipeline, sample, timesteps, **condition)

    monkeypatch.setattr(pipeline, "predict", watched)
    options = {**SMALL, "num_inference_steps": 1, "guidance_scale": 3.0}
    for style, strength in ((None, 1.0), (learned, 0.5)):
        pipeline.text_to_video("a", style=style, style_strength=strength, **options)
    plain, styled = (sorted(told[i : i + 2], key=lambda states: float(states.sum())) for i in (0, 2))
    added = [after - before for before, after in zip(plain, styled, strict=True)]
    word = load_file(learned)["word"]

    assert sum(bool(torch.equal(change, torch.zeros_like(change))) for change in added) == 1
    assert any(torch.allclose(change, (0.5 * word.float()).expand_as(change), atol=1e-3) for change in added)
    assert pipeline.word is None


def test_it_is_small_and_holds_spatial_layers_alone(pipeline, learned):
    tensors = load_file(learned)
    assert tensors and not any("temporal_" in name for name in tensors)
    assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in tensors if name != "word")
    assert tensors["word"].shape == (pipeline.unet.config.cross_attention_dim,)
    assert tensors["word"].abs().max() > 0
    assert any(value.abs().max() > 0 for name, value in tensors.items() if "lora_B" in name)


def test_the_pipeline_stays_as_it_is_and_the_same_seed_learns_the_same(pipeline, stripes, learned, tmp_path):
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}

    again = learn_style(pipeline, stripes, tmp_path / "again.safetensors", settings=QUICK)
    other = learn_style(pipeline, stripes, tmp_path / "other.safetensors", settings=QUICK, seed=1)

    assert again.read_bytes() == learned.read_bytes() != other.read_bytes()
    assert pipeline.unet.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in pipeline.unet.state_dict().items())
    assert all(parameter.requires_grad for parameter in pipeline.unet.parameters())


def test_it_can_be_stopped_after_any_step_and_writes_nothing_then(pipeline, stripes, tmp_path):
    steps = []

    def stop(info):
        steps.append((info.stage, info.step, info.steps))
        if info.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.learn_style(stripes, tmp_path / "w.safetensors", settings=QUICK, on_step=stop)

    assert steps == [("train", 1, 6), ("train", 2, 6)]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("shape", "message"),
    [((8, 100, 3), "at least 16 pixels"), ((16, 200, 3), "at most 8 times"), ((20, 20), "uint8 of shape")],
)
def test_pictures_that_cannot_be_are_refused(pipeline, tmp_path, shape, message):
    with pytest.raises(ValueError, match=rf"^image must be .*{message}"):
        pipeline.learn_style(np.zeros(shape, np.uint8), tmp_path / "w.safetensors")


def test_training_that_diverges_is_an_error(pipeline, stripes, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "encode", lambda pixels: torch.full((len(pixels), 48, 1, 8, 8), torch.nan))

    with pytest.raises(InvalidOutput, match="diverged"):
        pipeline.learn_style(stripes, tmp_path / "w.safetensors", settings=QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", ["sdxl", "if1"])
def test_every_family_of_image_models_learns_styles(family, stripes, tmp_path):
    """Latents and pixels, noise and velocity, one text encoder and two."""
    make_image_pipeline(family, tmp_path / "tokenizer").save_pretrained(tmp_path / "image")
    pipeline = inflate_folder(tmp_path / "image", tmp_path / "video")

    path = pipeline.learn_style(stripes, tmp_path / "w.safetensors", settings=StyleSettings(steps=2, pictures=2))

    side = pipeline.base_resolution
    options = {"height": side, "width": side, "num_inference_steps": 1, "num_frames": 2}
    clip = pipeline.text_to_video("a", style=path, **options)
    assert not np.array_equal(clip.frames, pipeline.text_to_video("a", **options).frames)
