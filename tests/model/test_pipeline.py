"""The pipeline on a tiny random model: what a caller gets, and what is refused."""

import time

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from einops import rearrange

from model.denoising import InvalidOutput
from model.pipeline import LumierePipeline, to_frames
from model.stunet import STUNet
from tests.model.families import image_unet
from tests.model.tiny import CARD, TOKENS, save_tiny_pipeline, tiny_text_encoder, tiny_tokenizer

PROMPT = "a red ball"
SMALL = {"num_frames": 5, "height": 32, "width": 32, "num_inference_steps": 3}


@pytest.fixture(scope="module")
def latent_pipeline() -> LumierePipeline:
    """SD-1.5-shaped: epsilon prediction, a VAE of factor 2, no folding."""
    torch.manual_seed(5)
    tokenizer = tiny_tokenizer()
    return LumierePipeline(
        unet=STUNet.from_unet(image_unet("sd15")),
        text_encoder=tiny_text_encoder(len(tokenizer), width=24),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
        vae=AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
        ).eval(),
    )


class TestTextToVideo:
    def test_frames_of_the_size_that_was_asked_for(self, pipeline):
        clip = pipeline.text_to_video(PROMPT, num_frames=7, height=64, width=64, num_inference_steps=2)

        assert clip.frames.shape == (7, 64, 64, 3)
        assert clip.frames.dtype == np.uint8
        assert clip.upscale == "bicubic"
        assert clip.timings.keys() == {"text", "denoise", "decode", "upscale"}

    def test_at_base_resolution_nothing_is_upscaled(self, pipeline):
        assert pipeline.text_to_video(PROMPT, **SMALL).upscale == "none"

    @pytest.mark.parametrize("num_frames", [1, 3, 13])
    def test_frame_counts_that_no_factor_divides(self, pipeline, num_frames):
        assert len(pipeline.text_to_video(PROMPT, **{**SMALL, "num_frames": num_frames}).frames) == num_frames

    def test_aspect_is_the_grids_too(self, pipeline):
        assert pipeline.latent_shape(5, 64, 32) == (1, 48, 5, 16, 8)
        assert pipeline.text_to_video(PROMPT, **{**SMALL, "height": 64}).upscale == "none"

    def test_defaults_come_from_the_card(self, pipeline):
        steps = []

        pipeline.text_to_video(PROMPT, num_frames=2, height=32, width=32, on_step=lambda info: steps.append(info.steps))

        assert steps == [CARD["defaults"]["num_inference_steps"]] * 4

    def test_the_default_job_is_quick(self, pipeline):
        started = time.process_time()
        pipeline.text_to_video(PROMPT, num_frames=16, height=64, width=64)

        assert time.process_time() - started < 5

    def test_prompts_longer_than_the_encoder_reads_are_reported(self, pipeline):
        short = pipeline.text_to_video("ball", **SMALL)
        long = pipeline.text_to_video("ball " * 40, **SMALL)

        assert (short.prompt_tokens_used, short.prompt_tokens_max, short.prompt_truncated) == (6, TOKENS, False)
        assert (long.prompt_tokens_used, long.prompt_truncated) == (TOKENS, True)


class TestSameAndOther:
    def frames(self, pipeline, prompt=PROMPT, **options):
        return pipeline.text_to_video(prompt, **{**SMALL, **options}).frames

    def test_same_request_same_pixels(self, pipeline):
        first = self.frames(pipeline, seed=7)
        self.frames(pipeline, "something else in between", scheduler="UniPCMultistepScheduler")

        assert np.array_equal(self.frames(pipeline, seed=7), first)

    def test_same_request_same_pixels_in_a_pipeline_loaded_again(self, pipeline, tiny_folder):
        again = LumierePipeline.from_pretrained(tiny_folder, device="cpu")

        assert np.array_equal(self.frames(again), self.frames(pipeline))

    def test_the_global_generator_has_no_say(self, pipeline):
        torch.manual_seed(1)
        first = self.frames(pipeline)
        torch.manual_seed(2)

        assert np.array_equal(self.frames(pipeline), first)

    @pytest.mark.parametrize("change", [
        {"seed": 1}, {"prompt": "a blue boat"}, {"negative_prompt": "blue"}, {"guidance_scale": 9.0},
        {"num_inference_steps": 4}, {"scheduler": "FlowMatchEulerDiscreteScheduler"}, {"guidance_interval": (0, 0.5)},
        {"guidance_rescale": 0.7},
    ], ids=lambda change: next(iter(change)))  # fmt: skip
    def test_every_argument_matters(self, pipeline, change):
        assert not np.array_equal(self.frames(pipeline, **change), self.frames(pipeline))

    def test_without_guidance_the_negative_prompt_is_not_read(self, pipeline):
        plain = self.frames(pipeline, guidance_scale=1.0)

        assert np.array_equal(self.frames(pipeline, guidance_scale=1.0, negative_prompt="blue"), plain)


class TestRefused:
    @pytest.mark.parametrize(("name", "value"), [
        ("prompt", ""), ("prompt", "  \n"), ("num_frames", 0), ("num_frames", -3), ("height", 16), ("width", 31),
        ("height", 33), ("num_inference_steps", 0), ("num_inference_steps", 1001), ("guidance_scale", 0.0),
        ("guidance_scale", float("nan")), ("seed", -1), ("seed", 2**64), ("scheduler", "Nope"),
    ])  # fmt: skip
    def test_arguments_that_cannot_be_are_named(self, pipeline, name, value):
        arguments = {"prompt": PROMPT, **SMALL, name: value}

        with pytest.raises(ValueError, match=f"^{name} must"):
            pipeline.text_to_video(**arguments)

    def test_a_broken_network_is_reported(self, tiny_folder):
        pipeline = LumierePipeline.from_pretrained(tiny_folder, device="cpu")
        with torch.no_grad():
            pipeline.unet.conv_out.bias[3] = float("nan")

        with pytest.raises(InvalidOutput):
            pipeline.text_to_video(PROMPT, **SMALL)


class TestLatents:
    def test_folded_pixels_come_back_exactly(self, pipeline):
        pixels = torch.rand(1, 3, 5, 32, 48) * 2 - 1

        latents = pipeline.encode(pixels)

        assert latents.shape == (1, 48, 5, 8, 12)
        assert torch.equal(pipeline.decode(latents), pixels)

    def test_folding_keeps_white_noise_white(self, pipeline):
        latents = torch.randn(1, 48, 5, 8, 8)

        assert torch.equal(pipeline.decode(latents).flatten().sort().values, latents.flatten().sort().values)

    def test_a_latent_model_goes_the_same_way(self, latent_pipeline):
        assert latent_pipeline.base_resolution == 32

        clip = latent_pipeline.text_to_video(PROMPT, num_frames=3, height=48, width=48, num_inference_steps=2)

        assert clip.frames.shape == (3, 48, 48, 3)

    def test_the_vae_works_frame_by_frame(self, latent_pipeline):
        pixels = torch.rand(2, 3, 20, 16, 16) * 2 - 1
        vae = latent_pipeline.vae

        with torch.no_grad():
            latents = latent_pipeline.encode(pixels)
            decoded = latent_pipeline.decode(latents)
            images = rearrange(pixels, "b c t h w -> (b t) c h w")
            expected = vae.encode(images).latent_dist.mode() * vae.config.scaling_factor
            redecoded = vae.decode(expected / vae.config.scaling_factor).sample

        torch.testing.assert_close(latents, rearrange(expected, "(b t) c h w -> b c t h w", b=2), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(decoded, rearrange(redecoded, "(b t) c h w -> b c t h w", b=2), atol=1e-5, rtol=1e-4)

    def test_upscaling_keeps_flat_colours_and_the_range(self):
        pixels = torch.full((1, 3, 18, 8, 8), 0.5)
        pixels[..., 4:] = -7

        frames = to_frames(pixels, 32, 24)

        assert frames.shape == (18, 32, 24, 3)
        assert (frames[:, :, :8] == 191).all()
        assert (frames[:, :, 16:] == 0).all()


class TestFolder:
    def test_the_network_is_recorded_under_a_path_that_stays(self, pipeline):
        assert pipeline.config.unet == ("model.components", "STUNet")

    def test_a_latent_model_comes_back_whole(self, latent_pipeline, tmp_path):
        latent_pipeline.save_pretrained(tmp_path)

        loaded = LumierePipeline.from_pretrained(tmp_path, dtype=torch.float32, device="cpu")

        small = {"num_frames": 2, "height": 32, "width": 32, "num_inference_steps": 2}
        frames = [p.text_to_video(PROMPT, **small).frames.astype(int) for p in (latent_pipeline, loaded)]
        assert np.abs(frames[0] - frames[1]).max() <= 1

    def test_a_tiny_folder_is_made_in_a_moment(self, tmp_path):
        started = time.process_time()
        save_tiny_pipeline(tmp_path)

        assert time.process_time() - started < 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestOnCuda:
    def test_bfloat16_makes_nearly_the_same_video(self, pipeline, tiny_folder):
        on_gpu = LumierePipeline.from_pretrained(tiny_folder, device="cuda")
        assert on_gpu.dtype == torch.bfloat16

        frames = [p.text_to_video(PROMPT, **SMALL).frames.astype(int) for p in (pipeline, on_gpu, on_gpu)]

        assert np.abs(frames[0] - frames[1]).mean() < 6
        assert np.array_equal(frames[1], frames[2])
