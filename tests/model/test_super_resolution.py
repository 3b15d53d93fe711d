"""Super-resolution on tiny random networks: exactness of the stream, seams, sizes, and the pipeline around it."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from benchmarks.seams import borders, measure
from model.conditioning import Keyframe
from model.denoising import InvalidOutput
from model.options import Options
from model.pipeline import LumierePipeline
from model.super_resolution import Settings, SuperResolution, enlarge
from tests.model.tiny import tiny_pipeline

PROMPT = "a red ball"


def tiny_network(spread: float = 0.3, scale: int = 2, patch: int = 4) -> SuperResolution:
    cells = 3 * patch**2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = UNet2DConditionModel(
            sample_size=8,
            in_channels=cells + 3 * (patch // scale) ** 2,
            out_channels=cells,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=1,
            cross_attention_dim=32,
            class_embed_type="timestep",
        )
        return SuperResolution.from_unet(
            image.eval(),
            temporal_factors=(1,),
            temporal_attention_depth=1,
            scale=scale,
            patch_size=patch,
            residual_spread=spread,
        )


@pytest.fixture(scope="module")
def network() -> SuperResolution:
    return tiny_network()


def text() -> dict[str, torch.Tensor]:
    return {"encoder_hidden_states": torch.ones(1, 3, 32)}


def low(frames: int, height: int = 8, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 3, frames, height, width, generator=generator) * 1.6 - 0.8


def whole(network: SuperResolution, video: torch.Tensor, **settings) -> torch.Tensor:
    return torch.cat(list(enlarge(network, video, text(), Settings(**settings))), dim=2)


class TestStream:
    def test_a_stream_of_windows_is_the_plain_loop_over_the_whole_clip(self, network):
        """Against the definition: all frames at every step, windows averaged by their weights, one noise tensor."""
        video, settings = low(21), Settings(steps=3, window_frames=8, overlap_frames=2)
        torch.manual_seed(0)

        streamed = whole(network, video, steps=3, window_frames=8, overlap_frames=2)
        at_once = whole(network, video, steps=3, window_frames=8, overlap_frames=2, window_batch=4)

        generator = torch.Generator().manual_seed(0x5DEECE66D)
        given = video + settings.augmentation * torch.randn(video.shape, generator=generator)
        z = torch.cat([torch.randn(1, 48, 1, 4, 4, generator=generator) for _ in range(21)], dim=2)
        base = network.interpolated(given)
        spans = [slice(0, 8), slice(6, 14), slice(12, 20), slice(13, 21)]
        with torch.no_grad():
            for level, following in ((1, 2 / 3), (2 / 3, 1 / 3), (1 / 3, 0)):
                total, weight = torch.zeros_like(z), torch.zeros(21, 1, 1)
                for span in spans:
                    told = torch.tensor([level]), torch.tensor([settings.augmentation])
                    rising = torch.tensor([1.0, 2, 3, 4, 4, 3, 2, 1]).view(-1, 1, 1)
                    total[:, :, span] += rising * network.predict(z[:, :, span], given[:, :, span], *told, **text())
                    weight[span] += rising
                pixels = network.to_pixels(total / weight, base).clamp(-1, 1)
                clean = network.to_residual(pixels, base)
                z = clean + (z - clean) * (following / level)
        torch.testing.assert_close(streamed, pixels, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(at_once, pixels, atol=1e-4, rtol=1e-4)

    def test_no_more_than_a_few_windows_are_at_work(self, network):
        """A frame comes out long before the last one goes in."""
        done = []
        settings = Settings(steps=2, window_frames=6, overlap_frames=2)
        blocks = enlarge(network, low(200), text(), settings, on_step=lambda info: done.append(info))

        next(blocks)

        assert len(done) == 3  # two windows of the first step, one of the second
        assert done[0].stage == "super-resolution"
        assert done[0].steps == 2 * 50

    def test_the_first_guess_of_a_silent_network_is_interpolation(self):
        network = tiny_network()
        with torch.no_grad():
            network.conv_out.weight.zero_()
            network.conv_out.bias.zero_()
        video = low(5)

        enlarged = whole(network, video, augmentation=0.0, steps=2)

        torch.testing.assert_close(enlarged, network.interpolated(video).clamp(-1, 1), atol=1e-5, rtol=0)

    def test_guidance_leads_away_from_the_negative_text(self, network):
        """The same texts guide nowhere; others do, and need to be given."""
        video, settings = low(5), Settings(steps=1, guidance_scale=3.0)

        def guided(by: float) -> torch.Tensor:
            negative = {"encoder_hidden_states": by * torch.ones(1, 3, 32)}
            return torch.cat(list(enlarge(network, video, text(), settings, negative=negative)), dim=2)

        plain = whole(network, video, steps=1)
        torch.testing.assert_close(guided(1), plain, atol=1e-5, rtol=0)
        assert (guided(-1) - plain).abs().max() > 1e-3
        with pytest.raises(ValueError, match="negative must be given"):
            next(enlarge(network, video, text(), settings))
        with pytest.raises(ValueError, match="guidance_scale"):
            next(enlarge(network, video, text(), Settings(guidance_scale=0.5)))

    @pytest.mark.parametrize("size", [(7, 9), (8, 6), (5, 16)])
    def test_sizes_that_do_not_divide_are_padded_and_cut_back(self, network, size):
        assert whole(network, low(3, *size), steps=1).shape == (1, 3, 3, 2 * size[0], 2 * size[1])

    def test_the_same_seed_the_same_video(self, network):
        one, again, other = (
            torch.cat(list(enlarge(network, low(5), text(), Settings(steps=2), seed=seed)), 2) for seed in (1, 1, 2)
        )

        assert torch.equal(one, again)
        assert not torch.equal(one, other)

    def test_an_output_that_is_not_finite_is_reported(self):
        network = tiny_network()
        with torch.no_grad():
            network.conv_out.bias[0] = float("nan")

        with pytest.raises(InvalidOutput):
            whole(network, low(2), steps=1)

    def test_the_fold_must_hold_whole_pixels(self, network):
        with pytest.raises(ValueError, match="patch_size must be a multiple of scale"):
            SuperResolution.from_config({**network.config, "patch_size": 3})


class TestSeams:
    def ratio(self, network: SuperResolution, overlap: int) -> float:
        """The largest change at a border of windows over the median change elsewhere, for a video that stands still."""
        video = low(1).expand(-1, -1, 42, -1, -1)
        enlarged = whole(network, video, steps=2, window_frames=8, overlap_frames=overlap, augmentation=0.0)
        change = enlarged.diff(dim=2).square().mean((0, 1, 3, 4))
        stride = 8 - overlap
        borders = [t for start in range(stride, 42 - overlap, stride) for t in range(start - 1, start + overlap)]
        inside = torch.ones_like(change, dtype=torch.bool)
        inside[borders] = False
        return (change[borders].max() / change[inside].median()).item()

    def test_windows_made_apart_show_and_fused_ones_do_not(self):
        """Every window is given a level of its own, the mean of its noise, as a network that sees no further does."""
        network = tiny_network(spread=0.02)
        predict = network.predict

        def with_a_level_of_the_window(noisy, told, level, augmentation, **condition):
            drawn = noisy.mean((1, 2, 3, 4), keepdim=True) * 60
            return 0.3 * predict(noisy, told, level, augmentation, **condition) + 0.3 * noisy + drawn

        network.predict = with_a_level_of_the_window

        apart, fused = self.ratio(network, 0), self.ratio(network, 4)

        assert apart > 1.5
        assert fused < 0.8 * apart


@pytest.fixture(scope="module")
def enlarging(tmp_path_factory) -> LumierePipeline:
    pipeline = tiny_pipeline()
    folder = tmp_path_factory.mktemp("enlarging")
    LumierePipeline(**{**pipeline.components, "super_resolution": tiny_network()}, patch_size=4).save_pretrained(folder)
    return LumierePipeline.from_pretrained(folder, device="cpu")


class TestPipeline:
    def test_it_is_part_of_the_folder(self, enlarging):
        assert isinstance(enlarging.super_resolution, SuperResolution)
        assert enlarging.super_resolution.config.scale == 2
        assert enlarging.config.super_resolution == ("model.components", "SuperResolution")

    @pytest.mark.parametrize(
        ("size", "upscale"),
        [(32, "none"), (48, "super-resolution"), (64, "super-resolution"), (96, "super-resolution")],
    )
    def test_it_takes_the_place_of_interpolation(self, enlarging, size, upscale):
        stages = []

        clip = enlarging.text_to_video(
            PROMPT,
            num_frames=5,
            height=size,
            width=size,
            num_inference_steps=2,
            on_step=lambda info: stages.append(info.stage),
        )

        assert clip.upscale == upscale
        assert clip.frames.shape == (5, size, size, 3)
        assert ("super-resolution" in stages) == (upscale == "super-resolution")

    @pytest.mark.parametrize("size", [48, 64, 128])
    def test_known_pixels_are_exact_and_told(self, enlarging, size):
        image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)

        clip = enlarging.image_to_video(
            PROMPT, keyframes=[Keyframe(image, 2)], num_frames=5, height=size, width=size, num_inference_steps=2
        )

        assert np.array_equal(clip.frames[2], image)


@pytest.fixture(scope="module")
def eightfold() -> LumierePipeline:
    """As lumiere-mini is shaped: from 32 to 256 pixels, a cell of the network for each pixel of the base."""
    pipeline = tiny_pipeline()
    with torch.no_grad():  # a grey video that stands still
        pipeline.unet.conv_out.weight.zero_()
        pipeline.unet.conv_out.bias.zero_()
    network = tiny_network(spread=0.1, scale=8, patch=8)
    return LumierePipeline(**{**pipeline.components, "super_resolution": network}, patch_size=4)


class TestEightfold:
    @pytest.mark.parametrize(("width", "height"), [(256, 256), (200, 120), (96, 160), (34, 58)])
    def test_sizes_that_no_stride_divides_are_made_and_keep_what_is_known(self, eightfold, width, height):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)

        clip = eightfold.image_to_video(
            PROMPT, keyframes=[Keyframe(image, 0)], num_frames=3, height=height, width=width, num_inference_steps=1
        )

        assert clip.frames.shape == (3, height, width, 3)
        assert np.array_equal(clip.frames[0], image)

    @pytest.mark.parametrize(("height", "nearest"), [(201, 200), (33, 32), (30, 32)])
    def test_sizes_that_cannot_be_are_refused_with_the_nearest_that_can(self, eightfold, height, nearest):
        with pytest.raises(ValueError, match=rf"^height must be even and at least 32.*the nearest is {nearest}$"):
            eightfold.text_to_video(PROMPT, num_frames=2, height=height, width=64, num_inference_steps=1)

    def test_windows_leave_no_seams_in_the_clip(self, eightfold):
        """Every window is given a level of its own, which shows at its borders unless windows are fused."""
        network = eightfold.super_resolution
        predict = network.predict

        def with_a_level_of_the_window(noisy, told, level, augmentation, **condition):
            drawn = noisy.mean((1, 2, 3, 4), keepdim=True) * 1000
            return 0.3 * predict(noisy, told, level, augmentation, **condition) + drawn

        network.predict = with_a_level_of_the_window
        eightfold.card = {"super_resolution": {"steps": 1, "window_frames": 8, "overlap_frames": 4}}
        try:
            options = Options(num_frames=36, height=256, width=256, num_inference_steps=1)
            measured = measure(eightfold, PROMPT, options)
        finally:
            network.predict, eightfold.card = predict, {}

        for ratio in ("frames", "added"):
            assert measured[f"apart_{ratio}"] > 1.5
            assert measured[f"fused_{ratio}"] < 0.7 * measured[f"apart_{ratio}"]

    def test_borders_are_where_windows_begin_and_end(self):
        assert borders(20, Settings(window_frames=8, overlap_frames=2)) == [5, 7, 11, 13]
        assert borders(16, Settings(window_frames=8, overlap_frames=0)) == [7]
