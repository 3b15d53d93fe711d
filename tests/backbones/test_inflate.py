"""From an image folder that diffusers saved to a folder that the pipeline and the service load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from einops import rearrange, repeat
from typer.testing import CliRunner

from model.backbones.__main__ import app
from model.backbones.inflate import inflate_folder
from model.checkpoint import CheckpointError
from model.pipeline import LumierePipeline
from model.super_resolution import Progress, Settings, Stage
from model.text import encode_text
from service.jobs.models import read_catalogue
from tests.backbones.folders import PROMPTS, as_on_the_hub, make_image_pipeline
from tests.model.families import conditions, of_frames

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
FRAMES = 8


@torch.no_grad()
def error_on_still_clip(pipeline: LumierePipeline, image_unet: UNet2DConditionModel, dtype: torch.dtype) -> float:
    """The largest difference between the pipeline's network on identical frames and the image U-Net on each."""
    image_unet, arguments = image_unet.to(dtype), conditions(image_unet, 1, dtype)
    side = image_unet.config.sample_size
    generator = torch.Generator().manual_seed(7)
    still = torch.randn(1, image_unet.config.in_channels, 1, side, side, generator=generator, dtype=torch.float64)
    clip = repeat(still.to(dtype), "b c 1 h w -> b c t h w", t=FRAMES)
    timestep = arguments.pop("timestep")

    video = pipeline.predict(clip, timestep, **arguments)
    frames = rearrange(clip, "b c t h w -> (b t) c h w").contiguous()
    images = image_unet(frames, timestep.expand(FRAMES), **of_frames(arguments, FRAMES)).sample
    return float((video - rearrange(images, "(b t) c h w -> b c t h w", t=FRAMES)).abs().max())


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_still_clip_gives_the_image_models_output(inflated, dtype):
    pipeline = LumierePipeline.from_pretrained(inflated.folder, device="cpu", dtype=dtype)
    image_unet = UNet2DConditionModel.from_pretrained(inflated.source / "unet")

    assert error_on_still_clip(pipeline, image_unet, dtype) <= TOLERANCE[dtype]


@pytest.fixture(scope="module")
def cascade(tmp_path_factory) -> Path:
    """DeepFloyd IF, stages I and II, inflated together: folders `first`, `second` and `video`."""
    folder = tmp_path_factory.mktemp("cascade")
    for family, name in (("if1", "first"), ("if2", "second")):
        make_image_pipeline(family, folder / f"{name}-tokenizer").save_pretrained(folder / name)
    inflate_folder(folder / "first", folder / "video", super_resolution=folder / "second")
    return folder


@pytest.mark.parametrize("dtype", TOLERANCE)
@torch.no_grad()
def test_the_network_of_a_second_stage_does_too(dtype, cascade):
    """Six channels in, told how much noise the small picture carries."""
    network = LumierePipeline.from_pretrained(cascade / "video", device="cpu", dtype=dtype).super_resolution
    image_unet = UNet2DConditionModel.from_pretrained(cascade / "second" / "unet").to(dtype)
    arguments = conditions(image_unet, 1, dtype)
    timestep = arguments.pop("timestep")
    frame = torch.randn(1, 6, 1, 32, 32, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(dtype)

    video = network(repeat(frame, "b c 1 h w -> b c t h w", t=FRAMES), timestep, **arguments).sample
    image = image_unet(frame[:, :, 0], timestep, **arguments).sample

    assert float((video - image.unsqueeze(2)).abs().max()) <= TOLERANCE[dtype]


def test_two_stages_make_a_larger_video(cascade):
    pipeline = LumierePipeline.from_pretrained(cascade / "video", device="cpu")
    pipeline.card["super_resolution"]["steps"] = 2
    clip = pipeline.text_to_video("a red ball", num_frames=20, height=32, width=32, num_inference_steps=1)

    assert (clip.frames.shape, clip.upscale) == ((20, 32, 32, 3), "super-resolution")
    assert read_catalogue([cascade / "video"])["video"].upscale == "super-resolution"


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_a_second_stage_that_knows_the_noise_finds_the_video(cascade, level, monkeypatch):
    """From the straight line of our solver to the schedule that it was trained on, and back."""
    network = LumierePipeline.from_pretrained(cascade / "video", device="cpu").super_resolution
    clean, noise = torch.rand(2, 1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    seen = {}

    def knows(sample, timesteps, **arguments):
        seen.update(sample=sample, labels=arguments["class_labels"])
        return UNet2DConditionOutput(sample=torch.cat([noise, noise], dim=1))

    monkeypatch.setattr(network, "forward", knows)
    low = torch.rand(1, 3, 4, 16, 16)
    levels = torch.tensor([level])
    found = network.predict((1 - level) * clean + level * noise, low, levels, 0 * levels)

    assert (found - clean).abs().max() < 0.02 / (1 - level)  # the schedule has a thousand steps
    assert seen["sample"].shape == (1, 6, 4, 32, 32) and seen["labels"].tolist() == [250]


@torch.no_grad()
def test_a_second_stage_is_guided_and_thresholded_as_by_diffusers(cascade):
    """One step of a still clip, against the image U-Net, the pipeline's formula and the scheduler's own estimate."""
    network = LumierePipeline.from_pretrained(cascade / "video", device="cpu").super_resolution
    image_unet = UNet2DConditionModel.from_pretrained(cascade / "second" / "unet")
    settings = Settings(**json.loads((cascade / "video" / "lumiere.json").read_text())["super_resolution"])
    scheduler = DDPMScheduler.from_pretrained(cascade / "second" / "scheduler")
    generator = torch.Generator().manual_seed(5)
    positive, negative = torch.randn(2, 1, 4, image_unet.config.encoder_hid_dim, generator=generator)
    low = torch.rand(1, 3, 1, 16, 16, generator=generator) * 2 - 1
    noisy = torch.randn(1, 3, 1, 32, 32, generator=generator)
    stage = Stage(
        network,
        low.expand(-1, -1, 3, -1, -1),
        {"encoder_hidden_states": positive},
        {"encoder_hidden_states": negative},
        settings,
        [slice(0, 3)],
        None,
        Progress(None, 1),
    )

    made = torch.cat(list(stage.run([noisy.expand(-1, -1, 3, -1, -1)], 0.5, 0.0)), dim=2)

    step = int((network.signal - 0.5).abs().argmin())
    sample, told = noisy[:, :, 0] / 0.5**0.5, network.told(low)[:, :, 0]
    labels = torch.tensor([network.config.noise_level])

    def noise(text):
        found = image_unet(torch.cat([sample, told], 1), step, text, class_labels=labels).sample
        return found.split(3, dim=1)

    (with_text, variance), (without, _) = noise(positive), noise(negative)
    guided = torch.cat([without + 4 * (with_text - without), variance], dim=1)
    expected = scheduler.step(guided, step, sample).pred_original_sample
    assert settings.guidance_scale == 4
    assert (without - with_text).abs().max() > 1e-4
    torch.testing.assert_close(made, expected[:, :, None].expand(-1, -1, 3, -1, -1), atol=2e-3, rtol=0)


def test_stages_that_do_not_fit_are_refused(cascade, tmp_path):
    with pytest.raises(CheckpointError, match="in_channels is 6, where 3 is needed"):
        inflate_folder(cascade / "second", tmp_path / "video")
    with pytest.raises(CheckpointError, match="in_channels is 3, where 6 is needed for a second stage"):
        inflate_folder(cascade / "first", tmp_path / "video", super_resolution=cascade / "first")
    assert not (tmp_path / "video").exists()


def test_the_whole_way_from_prompt_to_frames(inflated):
    side = inflated.pipeline.base_resolution
    clip = inflated.pipeline.text_to_video("a red ball", num_frames=3, height=side, width=side, num_inference_steps=2)

    assert clip.frames.shape == (3, side, side, 3)
    assert clip.upscale == "none"
    assert clip.frames.std() > 0


@pytest.mark.parametrize("inflated", ["sd15", "sd21", "sdxl"], indirect=True)  # the sampler of IF draws its own noise
def test_a_single_frame_is_the_picture_that_diffusers_makes(inflated):
    """Same noise, prompt, guidance and scheduler: the video of one frame is the image pipeline's image."""
    side = inflated.pipeline.base_resolution
    arguments = {"num_inference_steps": 3, "guidance_scale": 4.0, "height": side, "width": side}
    clip = inflated.pipeline.text_to_video("A red ball", seed=3, num_frames=1, **arguments)
    noise = torch.randn(inflated.pipeline.latent_shape(1, side, side), generator=torch.Generator().manual_seed(3))
    inflated.image.set_progress_bar_config(disable=True)
    picture = inflated.image("A red ball", latents=noise[:, :, 0], output_type="np", **arguments).images[0]

    assert abs(clip.frames[0] / 255 - picture).max() <= 1.5 / 255


def test_the_service_serves_it_beside_others(inflated, tiny_model):
    catalogue = read_catalogue([tiny_model, inflated.folder])

    card = catalogue[inflated.folder.name]
    assert card.tasks == ("text-to-video",)
    width, height = map(int, card.defaults.size.split("x"))
    assert (width, height) == (inflated.pipeline.base_resolution,) * 2
    for size in card.limits.sizes:
        width, height = map(int, size.split("x"))
        inflated.pipeline.check("a", 0, 8, height, width, 1)
    assert inflated.pipeline.card["temporal_layers"] == "untrained"


def test_saved_and_loaded_again_it_says_the_same(inflated, tmp_path):
    inflated.pipeline.save_pretrained(tmp_path)
    again = LumierePipeline.from_pretrained(tmp_path, device="cpu")

    ours, theirs = (encode_text(p.text_encoders, PROMPTS[:1]).states for p in (inflated.pipeline, again))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("family", ["sdxl", "if1"])
def test_folders_as_they_are_published(family, tmp_path):
    """Tokenizers in the older files, float16 weights under a variant's name."""
    scratch = tmp_path / "tokenizer"
    image = make_image_pipeline(family, scratch).to(torch.float16)
    image.save_pretrained(tmp_path / "image", variant="fp16")
    as_on_the_hub(tmp_path / "image", scratch)

    made = inflate_folder(tmp_path / "image", tmp_path / "video", variant="fp16")

    loaded = LumierePipeline.from_pretrained(tmp_path / "video", device="cpu", dtype=torch.float32)
    assert made.unet.dtype == torch.float16
    assert made.tokenizer(PROMPTS).input_ids == image.tokenizer(PROMPTS).input_ids
    assert loaded.tokenizer(PROMPTS).input_ids == image.tokenizer(PROMPTS).input_ids


@pytest.mark.parametrize("inflated", ["sd15"], indirect=True)
def test_the_same_seed_gives_the_same_temporal_weights(inflated, tmp_path):
    one = inflate_folder(inflated.source, tmp_path / "one", temporal_attention_depth=1)
    other = inflate_folder(inflated.source, tmp_path / "other", temporal_attention_depth=1, seed=1)

    saved = dict(inflated.pipeline.unet.named_parameters())
    assert all(torch.equal(value, saved[name]) for name, value in one.unet.named_parameters())
    assert not all(torch.equal(value, saved[name]) for name, value in other.unet.named_parameters())


@pytest.mark.parametrize("inflated", ["sd15"], indirect=True)
def test_diffusers_still_reads_the_image_folder(inflated):
    """Inflating changes nothing at the source."""
    again = DiffusionPipeline.from_pretrained(inflated.source)

    for name, value in again.unet.state_dict().items():
        assert torch.equal(value, inflated.pipeline.unet.state_dict()[name])


@pytest.mark.parametrize("inflated", ["sdxl"], indirect=True)
def test_the_command(inflated, tmp_path):
    out = tmp_path / "my model"
    arguments = ["--t2i", str(inflated.source), "--out", str(out), "--temporal-factors"]

    refused = CliRunner().invoke(app, [*arguments, "2,2,2"])
    assert refused.exit_code == 1
    assert "temporal_factors needs one factor >= 1 per spatial resampling, that is 2" in refused.stderr
    assert not out.exists()

    words = [sys.executable, "-m", "model.backbones", *arguments, "1,2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "lumiere.json").read_text())["id"] == "my-model"
    assert json.loads((out / "unet/config.json").read_text())["temporal_factors"] == [1, 2]
