"""Image layers that were taught the moment of a picture, told that of each frame."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from einops import rearrange
from torch import Tensor

from model.inflation import CLIP_FRAMES, moment_code
from model.stunet import STUNet
from tests.model.families import conditions, image_unet, of_frames
from tests.model.test_stunet import away_from_identity, predict, random_clip, still_clip

WIDTH = 12
UNRESAMPLED = {"temporal_factors": (1, 1, 1), "frame_moments": True}


def told_unet(family: str = "sd15") -> UNet2DConditionModel:
    return image_unet(family, time_cond_proj_dim=WIDTH)


@torch.no_grad()
def image_at(unet: UNet2DConditionModel, clip: Tensor, arguments: dict, moments: Tensor) -> Tensor:
    """Each frame of `clip` by the image model, told its moment (t,)."""
    videos, _, frames, _, _ = clip.shape
    pictures = rearrange(clip, "b c t h w -> (b t) c h w")
    told = moment_code(moments, WIDTH).repeat(videos, 1)
    output = unet(pictures, timestep_cond=told, **of_frames(arguments, frames)).sample
    return rearrange(output, "(b t) c h w -> b c t h w", b=videos)


class TestFrameMoments:
    @pytest.mark.parametrize("family", ["sd15", "if1"])
    def test_a_fresh_network_is_the_image_model_told_the_moment_of_each_frame(self, family):
        unet = told_unet(family)
        clip, arguments = random_clip(unet, 2, 5), conditions(unet, 2)

        output = predict(STUNet.from_unet(unet, **UNRESAMPLED), clip, arguments)

        expected = image_at(unet, clip, arguments, torch.arange(5))
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
        assert (expected - image_at(unet, clip, arguments, torch.zeros(5))).abs().max() > 1e-3

    def test_coarse_levels_are_told_the_moments_of_the_frames_that_they_keep(self):
        unet = told_unet()
        clip, arguments = still_clip(unet, 2, 17), conditions(unet, 2)

        output = predict(STUNet.from_unet(unet, frame_moments=True), clip, arguments)

        expected = image_at(unet, clip, arguments, torch.arange(17))
        torch.testing.assert_close(output[:, :, ::8], expected[:, :, ::8], atol=1e-5, rtol=0)

    def test_moments_are_told_in_native_frame_intervals(self):
        unet = told_unet()
        model = STUNet.from_unet(unet, **UNRESAMPLED)
        clip, arguments = random_clip(unet, 2, 4), conditions(unet, 2)

        output = predict(model, clip, arguments, frame_interval=torch.tensor([1.0, 5.0]))

        by_one, by_five = (image_at(unet, clip, arguments, step * torch.arange(4)) for step in (1, 5))
        torch.testing.assert_close(output, torch.stack([by_one[0], by_five[1]]), atol=1e-5, rtol=0)

    def test_a_condition_that_is_given_takes_the_place_of_moments(self):
        unet = told_unet()
        clip, arguments = random_clip(unet, 1, 3), conditions(unet, 1)
        given = moment_code(torch.tensor([7.0]), WIDTH)

        output = predict(STUNet.from_unet(unet, **UNRESAMPLED), clip, arguments, timestep_cond=given)

        torch.testing.assert_close(output, image_at(unet, clip, arguments, torch.full((3,), 7.0)), atol=1e-5, rtol=0)

    @pytest.mark.parametrize("videos", [1, 2])
    def test_chunks_of_frames_change_nothing(self, videos):
        unet = told_unet()
        model = away_from_identity(STUNet.from_unet(unet, frame_moments=True, temporal_conditioning=True))
        clip, arguments = random_clip(unet, videos, 13), conditions(unet, videos)
        whole = predict(model, clip, arguments)

        model.set_frame_chunk(3)

        torch.testing.assert_close(predict(model, clip, arguments), whole, atol=2e-5, rtol=1e-4)

    def test_image_models_that_read_no_moments_are_refused(self):
        with pytest.raises(ValueError, match="time_cond_proj_dim"):
            STUNet.from_unet(image_unet("sd15"), frame_moments=True)


class TestMomentCode:
    def test_what_goes_round_five_times_in_two_clips_is_one_of_its_waves(self):
        """As what spins does in the procedural world."""
        moments = torch.arange(CLIP_FRAMES)

        code = moment_code(moments, WIDTH)

        angles = 2 * torch.pi * 5 * moments / (2 * CLIP_FRAMES)
        torch.testing.assert_close(code[:, 4], angles.sin(), atol=1e-5, rtol=0)
        torch.testing.assert_close(code[:, 4 + WIDTH // 2], angles.cos(), atol=1e-5, rtol=0)
