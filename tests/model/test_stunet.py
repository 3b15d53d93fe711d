"""The Space-Time U-Net against the image U-Net it is inflated from, and the properties training and serving lean on."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from einops import rearrange, repeat
from torch import Tensor

from model.inflation import ClipContext, TimeConv
from model.stunet import STUNet
from tests.model.families import FAMILIES, conditions, image_unet, of_frames
from tests.model.tiny import tiny_unet

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def random_clip(unet: UNet2DConditionModel, videos: int, frames: int, size=(16, 16), dtype=torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (videos, unet.config.in_channels, frames, *size)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def still_clip(unet: UNet2DConditionModel, videos: int, frames: int, size=(16, 16), dtype=torch.float32) -> Tensor:
    return repeat(random_clip(unet, videos, 1, size, dtype), "b c 1 h w -> b c t h w", t=frames).contiguous()


def away_from_identity(model: STUNet) -> STUNet:
    """As if trained a little: no zero-initialised layer is zero any more."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.temporal_parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    return model


@torch.no_grad()
def image_per_frame(unet: UNet2DConditionModel, clip: Tensor, arguments: dict) -> Tensor:
    videos, _, frames, _, _ = clip.shape
    images = rearrange(clip, "b c t h w -> (b t) c h w").contiguous()
    output = unet(images, **of_frames(arguments, frames)).sample
    return rearrange(output, "(b t) c h w -> b c t h w", b=videos)


@torch.no_grad()
def predict(model: STUNet, clip: Tensor, arguments: dict, **more) -> Tensor:
    return model(clip, **arguments, **more).sample


def small_model(**temporal) -> STUNet:
    return away_from_identity(STUNet.from_unet(image_unet("sd15"), **temporal))


class TestFreshlyInflated:
    @pytest.mark.parametrize("dtype", TOLERANCE)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_still_clip_gives_the_image_models_output_on_every_frame(self, family, dtype):
        unet = image_unet(family, dtype)
        model = STUNet.from_unet(unet)
        clip, arguments = still_clip(unet, 2, 8, dtype=dtype), conditions(unet, 2, dtype)

        error = (predict(model, clip, arguments) - image_per_frame(unet, clip, arguments)).abs().max()

        assert error <= TOLERANCE[dtype]

    @pytest.mark.parametrize("family", FAMILIES)
    def test_without_temporal_resampling_any_clip_does(self, family):
        unet = image_unet(family)
        model = STUNet.from_unet(unet, temporal_factors=(1,) * (len(unet.config.block_out_channels) - 1))
        clip, arguments = random_clip(unet, 2, 5), conditions(unet, 2)

        error = (predict(model, clip, arguments) - image_per_frame(unet, clip, arguments)).abs().max()

        assert error <= 1e-5

    @pytest.mark.parametrize("frames", [1, 5, 13])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_frame_counts_that_no_factor_divides_are_kept(self, family, frames):
        unet = image_unet(family)
        model = STUNet.from_unet(unet)
        clip, arguments = still_clip(unet, 1, frames), conditions(unet, 1)

        error = (predict(model, clip, arguments) - image_per_frame(unet, clip, arguments)).abs().max()

        assert error <= 1e-5

    @pytest.mark.parametrize(
        "options",
        [
            {"temporal_conditioning": True},
            {"temporal_places": True},
            {"temporal_hidden_ratio": 0.5, "temporal_kernel": 5},
            {"temporal_factors": (4, 2, 1)},
        ],
    )
    def test_every_option_starts_as_the_image_model(self, options):
        unet = image_unet("sd15")
        model = STUNet.from_unet(unet, **options)
        clip, arguments = still_clip(unet, 2, 9), conditions(unet, 2)

        error = (predict(model, clip, arguments) - image_per_frame(unet, clip, arguments)).abs().max()

        assert error <= 1e-5

    def test_sizes_that_no_stride_divides(self):
        unet = image_unet("sd15")
        clip, arguments = still_clip(unet, 1, 4, size=(20, 12)), conditions(unet, 1)

        error = (predict(STUNet.from_unet(unet), clip, arguments) - image_per_frame(unet, clip, arguments)).abs().max()

        assert error <= 1e-5

    def test_masked_text(self):
        unet = image_unet("sd15")
        clip, arguments = still_clip(unet, 2, 4), conditions(unet, 2)
        arguments["encoder_attention_mask"] = torch.arange(7).expand(2, 7) < torch.tensor([[3], [6]])

        error = (predict(STUNet.from_unet(unet), clip, arguments) - image_per_frame(unet, clip, arguments)).abs().max()

        assert error <= 1e-5

    def test_image_keys_are_unchanged_and_the_others_are_temporal(self):
        unet = image_unet("sdxl")

        keys = STUNet.from_unet(unet).state_dict().keys()

        assert unet.state_dict().keys() <= keys
        assert all("temporal_" in key for key in keys - unet.state_dict().keys())

    def test_image_weights_are_shared_not_copied(self):
        unet = image_unet("sd15").to(memory_format=torch.channels_last)

        model = STUNet.from_unet(unet)

        assert model.conv_in.weight.data_ptr() == unet.conv_in.weight.data_ptr()


class TestTrained:
    """Properties of a network whose temporal layers do something."""

    @pytest.mark.parametrize("family", FAMILIES)
    def test_two_videos_in_a_batch_do_not_see_each_other(self, family):
        unet = image_unet(family)
        model = away_from_identity(STUNet.from_unet(unet, temporal_conditioning=True))
        clip, arguments = random_clip(unet, 2, 6), conditions(unet, 2)

        together = predict(model, clip, arguments)

        for video in range(2):
            row = slice(video, video + 1)
            alone = {
                k: {n: t[row] for n, t in v.items()} if isinstance(v, dict) else v[row] for k, v in arguments.items()
            }
            torch.testing.assert_close(together[row], predict(model, clip[row], alone), atol=2e-5, rtol=1e-4)

    @pytest.mark.parametrize("videos", [1, 2])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_chunks_of_frames_change_nothing(self, family, videos):
        unet = image_unet(family)
        model = away_from_identity(STUNet.from_unet(unet))
        clip, arguments = random_clip(unet, videos, 7), conditions(unet, videos)
        whole = predict(model, clip, arguments)

        model.set_frame_chunk(3)

        torch.testing.assert_close(predict(model, clip, arguments), whole, atol=2e-5, rtol=1e-4)

    def test_information_travels_through_time(self):
        model = small_model()
        clip, arguments = random_clip(model, 1, 16), conditions(model, 1)
        changed = clip.clone()
        changed[:, :, 0] += 1

        difference = (predict(model, clip, arguments) - predict(model, changed, arguments)).abs().amax((0, 1, 3, 4))

        assert (difference > 1e-4).all()

    def test_order_of_frames_matters(self):
        model = small_model()
        clip, arguments = random_clip(model, 1, 8), conditions(model, 1)

        mirrored = predict(model, clip.flip(2), arguments).flip(2)

        assert (predict(model, clip, arguments) - mirrored).abs().max() > 1e-3

    def test_frame_interval_is_seen_and_may_differ_between_videos(self):
        model = small_model()
        clip, arguments = random_clip(model, 1, 24), conditions(model, 1)
        pair = clip.repeat(2, 1, 1, 1, 1)
        of_pair = {key: value.repeat_interleave(2, 0) for key, value in arguments.items()}

        slow, fast = (predict(model, clip, arguments, frame_interval=interval) for interval in (1.0, 5.0))
        both = predict(model, pair, of_pair, frame_interval=torch.tensor([1.0, 5.0]))

        assert (slow - fast).abs().max() > 1e-4
        torch.testing.assert_close(both, torch.cat([slow, fast]), atol=2e-5, rtol=1e-4)

    def test_conditioned_temporal_layers_read_the_text(self):
        """With the image layers' cross-attention silenced, text can act through the temporal layers only."""
        outputs = []
        for conditioning in (False, True):
            model = small_model(temporal_conditioning=conditioning)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if ".attn2.to_out" in name:
                        parameter.zero_()
            clip, arguments = random_clip(model, 1, 8), conditions(model, 1)
            other = {**arguments, "encoder_hidden_states": arguments["encoder_hidden_states"].flip(-1)}
            outputs.append((predict(model, clip, arguments) - predict(model, clip, other)).abs().max())

        assert outputs[0] == 0
        assert outputs[1] > 1e-4

    @pytest.mark.parametrize("places", [False, True])
    def test_attention_over_time_tells_places_apart_only_if_told_them(self, places):
        block = small_model(temporal_places=places).mid_block.temporal_blocks[0]
        channels = block.proj_out.out_features
        one_place = torch.randn(6, channels, 1, 1, generator=torch.Generator().manual_seed(6))
        clip = ClipContext(videos=1, motion=None, frame_interval=torch.ones(1, 1))

        with torch.no_grad():
            everywhere = block(one_place.expand(-1, -1, 3, 4), clip)

        assert ((everywhere - everywhere[:, :, :1, :1]).abs().max() > 1e-3) == places

    @pytest.mark.parametrize("places", [False, True])
    def test_convolutions_over_time_tell_places_apart_only_if_told_them(self, places):
        block = small_model(temporal_places=places).down_blocks[0].temporal_blocks[0]
        flat = torch.randn(6, 16, 1, 1, generator=torch.Generator().manual_seed(6)).expand(-1, -1, 8, 8)
        clip = ClipContext(videos=1, motion=None, frame_interval=torch.ones(1, 1))

        with torch.no_grad():
            inside = block(flat, clip)[:, :, 2:-2, 2:-2]  # the zeros around the frame reach one place in

        assert ((inside - inside[:, :, :1, :1]).abs().max() > 1e-3) == places

    @pytest.mark.parametrize("conditioning", [False, True])
    def test_convolutions_over_time_tell_moments_apart_only_if_told_them(self, conditioning):
        model = small_model(temporal_conditioning=conditioning)
        blocks = [block for level in model.down_blocks[:-1] for block in level.temporal_blocks]
        moments = torch.randn(1, 8, model.time_embedding_width, generator=torch.Generator().manual_seed(7))
        for block in blocks:
            channels = block.proj_out.out_channels
            spacing = block.modulation.frame_spacing if conditioning else 1
            still = torch.randn(1, channels, 8, 8, generator=torch.Generator().manual_seed(8)).expand(
                8 // spacing, -1, -1, -1
            )
            clip = ClipContext(videos=1, motion=moments if conditioning else None, frame_interval=torch.ones(1, 1))

            with torch.no_grad():
                frames = block(still, clip)

            assert ((frames - frames[:1]).abs().max() > 1e-3) == conditioning

    def test_moments_are_told_in_native_frame_intervals(self):
        """Every third frame of a clip is embedded as it is among all frames."""
        embed = small_model(temporal_conditioning=True).temporal_embedding_motion
        generator = torch.Generator().manual_seed(9)
        condition = torch.randn(2, embed.noise.in_features, generator=generator)
        text = torch.randn(2, 5, embed.text.norm.normalized_shape[0], generator=generator)

        with torch.no_grad():
            every = embed(condition, text, None, torch.arange(10)[None])
            third = embed(condition, text, None, 3 * torch.arange(4)[None])

        torch.testing.assert_close(third, every[:, ::3])
        assert (every[:, 1:] - every[:, :1]).abs().amax((0, 2)).min() > 1e-4

    def test_norms_take_their_statistics_per_frame(self):
        """A frame's own (2+1)D branch, with the convolution over time silenced but for its centre, depends on that
        frame alone: statistics over the clip would make temporal windows disagree by construction.
        """
        block = small_model().down_blocks[0].temporal_blocks[0]
        with torch.no_grad():
            block.conv_time.weight[:, :, [0, 2]] = 0
        x = torch.randn(6, 16, 8, 8)
        changed = x.clone()
        changed[0] *= 10
        clip = ClipContext(videos=1, motion=None, frame_interval=torch.ones(1, 1))

        with torch.no_grad():
            difference = (block(x, clip) - block(changed, clip)).abs().amax((1, 2, 3))

        assert difference[0] > 0
        assert (difference[1:] == 0).all()


class TestTraining:
    def loss(self, model: STUNet, videos: int = 2, frames: int = 5) -> Tensor:
        clip, arguments = random_clip(model, videos, frames), conditions(model, videos)
        return (model(clip, **arguments).sample - clip.roll(1, 2)).square().mean()

    def test_a_step_changes_every_temporal_parameter_and_no_other(self):
        model = (
            away_from_identity(STUNet.from_unet(image_unet("sd15"), temporal_conditioning=True))
            .freeze_spatial()
            .train()
        )
        before = copy.deepcopy(model.state_dict())

        optimizer = torch.optim.AdamW(model.temporal_parameters(), lr=1e-3)
        self.loss(model).backward()
        without_gradient = [n for n, p in model.named_parameters() if ("temporal_" in n) != (p.grad is not None)]
        optimizer.step()

        assert without_gradient == []
        changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
        assert changed == {key for key in before if "temporal_" in key}

    def test_every_parameter_of_a_fresh_network_gets_a_gradient_by_the_third_step(self):
        """The zero-initialised layers open first, then what lies before them."""
        model = STUNet.from_unet(image_unet("sd15"), temporal_conditioning=True, temporal_places=True)
        model.freeze_spatial().train()
        optimizer = torch.optim.SGD(model.temporal_parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            self.loss(model, frames=16).backward()
            optimizer.step()

        silent = [n for n, p in model.named_parameters() if "temporal_" in n and not p.grad.abs().max() > 0]

        assert silent == []

    def test_checkpointed_gradients_are_the_plain_ones(self):
        model = (
            away_from_identity(STUNet.from_unet(image_unet("sd15"), temporal_conditioning=True))
            .freeze_spatial()
            .train()
        )
        self.loss(model).backward()
        plain = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()

        model.enable_gradient_checkpointing()
        self.loss(model).backward()

        assert plain
        for name, parameter in model.named_parameters():
            if name in plain:
                torch.testing.assert_close(parameter.grad, plain[name], atol=1e-7, rtol=1e-4)

    def test_chunking_is_off_under_gradients(self):
        model = small_model().freeze_spatial().train()
        self.loss(model).backward()
        plain = model.down_blocks[0].temporal_blocks[0].conv_space.weight.grad.clone()
        model.zero_grad()

        model.set_frame_chunk(2)
        self.loss(model).backward()

        assert torch.equal(model.down_blocks[0].temporal_blocks[0].conv_space.weight.grad, plain)


class TestCompiled:
    @pytest.mark.parametrize("frame_chunk", [None, 2])
    def test_the_network_is_one_graph(self, frame_chunk):
        model = tiny_unet().eval()
        model.set_frame_chunk(frame_chunk)
        clip, arguments = random_clip(model, 2, 5, size=(4, 4)), conditions(model, 2)
        plain = predict(model, clip, arguments)

        compiled = torch.compile(model, backend="eager", fullgraph=True)

        torch.testing.assert_close(predict(compiled, clip, arguments), plain)


class TestTimeConv:
    def test_matmuls_and_convolution_agree(self):
        """Wide layers are trained by another way than they are run."""
        layer = TimeConv(128, 128, kernel=3)
        clip = torch.randn(2, 128, 5, 6).contiguous(memory_format=torch.channels_last)

        trained = layer(clip)
        with torch.no_grad():
            run = layer(clip)

        assert trained.requires_grad
        torch.testing.assert_close(trained, run, atol=1e-5, rtol=1e-4)

    def test_a_still_clip_has_no_borders(self):
        """Outside the clip its first and last frame go on, so that time has no edge in a still one."""
        layer = TimeConv(4, 4, kernel=5)
        still = torch.randn(1, 4, 1, 6).expand(1, 4, 7, 6)

        out = layer(still)

        torch.testing.assert_close(out, out[:, :, :1].expand_as(out))


class TestFolders:
    def test_a_saved_network_comes_back_the_same(self, tmp_path):
        model = small_model(temporal_conditioning=True, temporal_hidden_ratio=0.5, temporal_factors=(1, 2, 4))
        clip, arguments = random_clip(model, 1, 5), conditions(model, 1)
        model.save_pretrained(tmp_path)

        loaded = STUNet.from_pretrained(tmp_path)

        assert loaded.config.temporal_conditioning
        assert loaded.config.temporal_hidden_ratio == 0.5
        assert tuple(loaded.config.temporal_factors) == (1, 2, 4)
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
        torch.testing.assert_close(
            predict(loaded, clip, arguments), predict(model, clip, arguments), atol=1e-5, rtol=1e-4
        )

    def test_an_image_models_folder_is_refused(self, tmp_path):
        image_unet("sd15").save_pretrained(tmp_path)

        with pytest.raises(ValueError, match=r"temporal layers.*from_unet"):
            STUNet.from_pretrained(tmp_path)

    def test_other_weights_are_refused(self, tmp_path):
        small_model(temporal_conditioning=True).save_pretrained(tmp_path)
        config = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").write_text(
            config.replace('"temporal_conditioning": true', '"temporal_conditioning": false')
        )

        with pytest.raises(ValueError, match=r"does not fit its own config\.json"):
            STUNet.from_pretrained(tmp_path)

    def test_the_image_model_can_be_taken_out_again(self, tmp_path):
        unet = image_unet("sd15")
        STUNet.from_unet(unet).save_pretrained(tmp_path)

        loaded = UNet2DConditionModel.from_pretrained(tmp_path)

        assert all(torch.equal(value, unet.state_dict()[key]) for key, value in loaded.state_dict().items())


class TestRefused:
    @pytest.mark.parametrize("factors", [(2,), (2, 2, 2, 2), (2, 0, 2)])
    def test_factors_that_do_not_fit(self, factors):
        with pytest.raises(ValueError, match="temporal_factors"):
            STUNet.from_unet(image_unet("sd15"), temporal_factors=factors)

    def test_even_kernels(self):
        with pytest.raises(ValueError, match="temporal_kernel must be odd"):
            STUNet.from_unet(image_unet("sd15"), temporal_kernel=2)

    def test_block_types_it_does_not_know(self):
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64),
            down_block_types=("AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D"),
            norm_num_groups=8,
            attention_head_dim=8,
            cross_attention_dim=16,
        )

        with pytest.raises(ValueError, match="AttnDownBlock2D"):
            STUNet.from_unet(unet)
