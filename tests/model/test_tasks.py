"""The five tasks on a tiny random model: what is known stays, to the bit, and reaches the network at every step."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model.checkpoint import CheckpointError
from model.conditioning import Keyframe, Margins, from_keyframes, from_video
from model.denoising import Schedule
from model.looping import looped
from model.options import Given, Options
from model.pipeline import LumierePipeline
from model.style import read_style, styled
from tests.model.tiny import save_tiny_pipeline, tiny_pipeline

PROMPT = "a red ball"
SMALL = {"height": 32, "width": 32, "num_inference_steps": 3}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def hole(height: int, width: int) -> np.ndarray:
    mask = np.zeros((1, height, width), bool)
    mask[:, height // 4 : height // 2 + 1, width // 4 : width // 2 + 3] = True
    return mask


class TestImageToVideo:
    @pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (64, 32)])
    def test_the_frames_given_are_there_to_the_bit(self, pipeline, height, width):
        first, last = noise(height, width, 3), noise(height, width, 3, seed=1)
        options = {**SMALL, "height": height, "width": width}

        clip = pipeline.image_to_video(
            PROMPT, keyframes=[Keyframe(first, 0), Keyframe(last, -1)], num_frames=6, **options
        )

        assert np.array_equal(clip.frames[0], first)
        assert np.array_equal(clip.frames[5], last)
        assert not np.array_equal(clip.frames[1], first)

    def test_another_image_makes_another_video(self, pipeline):
        made = [
            pipeline.image_to_video(PROMPT, keyframes=[Keyframe(noise(32, 32, 3, seed=seed), 0)], num_frames=4, **SMALL)
            for seed in (0, 1)
        ]

        assert not np.array_equal(made[0].frames[1:], made[1].frames[1:])

    def test_a_network_that_is_not_told_begins_from_the_nearest_frame(self, pipeline):
        first, last = noise(32, 32, 3), noise(32, 32, 3, seed=1)
        seen = []
        hook = pipeline.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
        try:
            pipeline.image_to_video(
                PROMPT,
                keyframes=[Keyframe(first, 0), Keyframe(last, -1)],
                num_frames=5,
                seed=3,
                **{**SMALL, "num_inference_steps": 10},
            )
        finally:
            hook.remove()

        schedule = Schedule.of(pipeline.scheduler, 10, torch.device("cpu"))
        alpha, sigma = schedule.noise_level(1)
        start = torch.randn(1, 48, 5, 8, 8, generator=torch.Generator().manual_seed(3))
        frames = torch.from_numpy(np.stack([first, first, first, last, last])).permute(3, 0, 1, 2)[None]
        source = pipeline.encode(frames / 127.5 - 1)
        torch.testing.assert_close(seen[0], alpha * source + sigma * start, atol=1e-5, rtol=0)


class TestInpaint:
    def test_outside_of_the_mask_nothing_changes(self, pipeline):
        video, mask = noise(5, 64, 64, 3), hole(64, 64)

        clip = pipeline.inpaint(PROMPT, video=video, mask=mask, **{**SMALL, "height": 64, "width": 64})

        outside = ~np.broadcast_to(mask, (5, 64, 64))
        assert np.array_equal(clip.frames[outside], video[outside])
        assert (clip.frames[~outside] != video[~outside]).mean() > 0.9

    def test_what_was_in_the_hole_has_no_influence(self, pipeline):
        video, mask = noise(4, 64, 64, 3), hole(64, 64)
        other = np.where(np.broadcast_to(mask, (4, 64, 64))[..., None], noise(4, 64, 64, 3, seed=9), video)
        options = {**SMALL, "height": 64, "width": 64}

        made = [pipeline.inpaint(PROMPT, video=some, mask=mask, **options).frames for some in (video, other)]

        assert np.array_equal(*made)

    def test_the_canvas_grows(self, pipeline):
        video = noise(3, 32, 32, 3)

        clip = pipeline.inpaint(PROMPT, video=video, expand=Margins(left=0.25, right=0.25), **{**SMALL, "width": 64})

        assert clip.frames.shape == (3, 32, 64, 3)
        assert np.array_equal(clip.frames[:, :, 16:48], video)

    def test_a_mask_may_change_from_frame_to_frame(self, pipeline):
        video = noise(4, 32, 32, 3)
        mask = np.zeros((4, 32, 32), np.float32)
        mask[1:3, 8:16] = 1.0

        clip = pipeline.inpaint(PROMPT, video=video, mask=mask, **SMALL)

        changed = (clip.frames != video).any(-1)
        assert not changed[~mask.astype(bool)].any()
        assert changed[1:3].any((1, 2)).all()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"mask": np.zeros((1, 32, 32))}, "mask must leave something"),
            ({"mask": np.ones((1, 16, 32))}, "mask must be bool of shape"),
            ({"mask": np.ones((1, 32, 32)), "feather": 2}, "feather must be 0 to 0.5"),
            ({"mask": np.ones((1, 32, 32)), "resize": "zoom"}, "resize must be one of"),
        ],
    )
    def test_arguments_that_cannot_be_are_named(self, pipeline, arguments, message):
        with pytest.raises(ValueError, match=f"^{message}"):
            pipeline.inpaint(PROMPT, video=noise(2, 32, 32, 3), **arguments, **SMALL)


class TestCinemagraph:
    @pytest.mark.parametrize("loop", [False, True])
    def test_the_rest_stands_still(self, pipeline, loop):
        image, mask = noise(64, 64, 3), hole(64, 64)

        clip = pipeline.cinemagraph(
            PROMPT, image=image, mask=mask, num_frames=5, loop=loop, **{**SMALL, "height": 64, "width": 64}
        )

        assert np.array_equal(clip.frames[0], image) == (not loop)  # of a loop no frame stands out
        assert (clip.frames[:, ~mask[0]] == image[~mask[0]]).all()
        assert (clip.frames[1:][:, mask[0]] != image[mask[0]]).any()

    def test_the_step_from_the_end_to_the_beginning_is_the_smallest(self, pipeline):
        clip = pipeline.cinemagraph(
            PROMPT, image=noise(64, 64, 3), mask=hole(64, 64), num_frames=9, loop=True, **{**SMALL, "height": 64}
        )

        frames = clip.frames.astype(int)
        steps = np.abs(frames - np.roll(frames, 1, axis=0)).mean((1, 2, 3))
        assert steps.argmin() == 0

    def test_the_ring_is_cut_at_two_places_in_turn(self):
        """A network that pulls each frame towards the one before it never links the last frame to the first, unless
        the ring is turned.
        """
        seen = []

        def network(sample, timesteps):
            seen.append(sample[0, 0, :, 0, 0].tolist())
            return sample

        clip = torch.arange(6.0).view(1, 1, 6, 1, 1)
        ring = looped(network)
        for level in (900, 900, 500, 100):
            assert torch.equal(ring(clip, torch.tensor([level])), clip)

        assert seen == [[0, 1, 2, 3, 4, 5]] * 2 + [[3, 4, 5, 0, 1, 2]] + [[0, 1, 2, 3, 4, 5]]


class TestStylizeVideo:
    def test_only_the_last_steps_are_run(self, pipeline):
        steps = []

        pipeline.stylize(
            PROMPT,
            video=noise(2, 32, 32, 3),
            strength=0.3,
            on_step=lambda info: steps.append((info.step, info.steps)),
            **{**SMALL, "num_inference_steps": 10},
        )

        assert steps == [(1, 3), (2, 3), (3, 3)]

    @pytest.mark.parametrize("scheduler", ["UniPCMultistepScheduler", "FlowMatchHeunDiscreteScheduler"])
    def test_with_other_solvers(self, pipeline, scheduler):
        video = np.full((3, 32, 32, 3), 128, np.uint8)

        clip = pipeline.stylize(PROMPT, video=video, strength=0.4, scheduler=scheduler, **SMALL)

        assert clip.frames.shape == video.shape

    def test_the_card_says_how_far(self, pipeline, monkeypatch):
        monkeypatch.setitem(pipeline.card, "stylize", {"strength": 0.2})
        steps = []

        pipeline.stylize(
            PROMPT,
            video=noise(2, 32, 32, 3),
            on_step=lambda info: steps.append(info.steps),
            **{**SMALL, "num_inference_steps": 10},
        )

        assert steps == [2, 2]

    def test_guidance_grows_with_strength(self, pipeline):
        video = noise(2, 32, 32, 3)

        def frames(strength, scale):
            return pipeline.stylize(PROMPT, video=video, strength=strength, **{**SMALL, "guidance_scale": scale}).frames

        assert np.array_equal(frames(0.0, 1.0), frames(0.0, 9.0))
        assert not np.array_equal(frames(1.0, 1.0), frames(1.0, 9.0))

    def test_something_must_be_given(self, pipeline):
        with pytest.raises(ValueError, match=r"^video or style must be given"):
            pipeline.stylize(PROMPT, **SMALL)


@pytest.fixture(scope="module")
def styled_folder(tmp_path_factory):
    """A model with two styles: whole tensors, and a low-rank pair."""
    folder = save_tiny_pipeline(tmp_path_factory.mktemp("styles") / "tiny")
    weights = tiny_pipeline().unet.state_dict()
    generator = torch.Generator().manual_seed(1)
    whole = {
        name: weights[name] + 0.3 * torch.randn(weights[name].shape, generator=generator)
        for name in ("conv_in.weight", "conv_out.bias")
    }
    layer = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"
    rows, columns = weights[f"{layer}.weight"].shape
    pair = {
        f"unet.{layer}.lora_A.weight": torch.randn(2, columns, generator=generator),
        f"unet.{layer}.lora_B.weight": torch.randn(rows, 2, generator=generator),
    }
    for name, tensors in (("whole", whole), ("pair", pair)):
        (folder / "styles" / name).mkdir(parents=True)
        save_file(
            {key: value.contiguous() for key, value in tensors.items()},
            folder / "styles" / name / "weights.safetensors",
        )
    return folder


@pytest.fixture(scope="module")
def with_styles(styled_folder) -> LumierePipeline:
    return LumierePipeline.from_pretrained(styled_folder, device="cpu")


class TestStyles:
    def test_they_are_found(self, with_styles, pipeline):
        assert with_styles.styles == ["pair", "whole"]
        assert pipeline.styles == []

    @pytest.mark.parametrize("name", ["whole", "pair"])
    def test_a_style_changes_the_video_and_is_gone_afterwards(self, with_styles, name):
        before = {key: value.clone() for key, value in with_styles.unet.state_dict().items()}

        plain, none, full = (
            with_styles.stylize(PROMPT, style=name, style_strength=strength, num_frames=3, **SMALL).frames
            if strength is not None
            else with_styles.text_to_video(PROMPT, num_frames=3, **SMALL).frames
            for strength in (None, 0.0, 1.0)
        )

        assert np.array_equal(plain, none)
        assert not np.array_equal(plain, full)
        assert all(torch.equal(value, before[key]) for key, value in with_styles.unet.state_dict().items())

    @pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
    def test_weights_are_interpolated(self, with_styles, strength):
        unet = with_styles.unet
        style = with_styles.style("whole")
        original = unet.conv_in.weight.detach().clone()

        with styled(unet, style, strength):
            expected = strength * style.weights["conv_in.weight"] + (1 - strength) * original
            torch.testing.assert_close(unet.conv_in.weight.detach(), expected)
            if strength == 1:
                assert torch.equal(unet.conv_in.weight, style.weights["conv_in.weight"])

    def test_low_rank_pairs_are_added(self, with_styles):
        ((name, pair),) = with_styles.style("pair").weights.items()
        weight = with_styles.unet.get_parameter(name).detach().clone()

        with styled(with_styles.unet, with_styles.style("pair"), 0.5):
            torch.testing.assert_close(
                with_styles.unet.get_parameter(name).detach(), weight + 0.5 * pair.up @ pair.down
            )

    def test_the_weights_come_back_when_a_run_is_cancelled(self, with_styles):
        original = with_styles.unet.conv_in.weight.detach().clone()

        def cancel(info):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            with_styles.stylize(PROMPT, style="whole", num_frames=2, on_step=cancel, **SMALL)

        assert torch.equal(with_styles.unet.conv_in.weight, original)

    def test_unknown_styles_are_named(self, with_styles):
        with pytest.raises(ValueError, match=r"^style must be one of pair, whole, got 'oil'"):
            with_styles.stylize(PROMPT, style="oil", **SMALL)

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({"no.such": torch.ones(1)}, "no spatial weight of this model"),
            ({"conv_in.weight": torch.ones(3, 3)}, "does not have this model's shape"),
            ({"conv_in.lora_A.weight": torch.ones(2, 4)}, "without its lora_B"),
            ({"down_blocks.0.temporal_blocks.0.proj_out.weight": torch.ones(1)}, "no spatial weight"),
            ({"word": torch.ones(7)}, "word has shape .7,., this model.s texts have width 32"),
        ],
    )
    def test_files_for_another_model_are_refused(self, pipeline, tmp_path, tensors, message):
        save_file(tensors, tmp_path / "weights.safetensors")

        with pytest.raises(CheckpointError, match=message):
            read_style(tmp_path / "weights.safetensors", pipeline.unet)


class TestKnownAtEveryStep:
    def test_known_cells_follow_the_noise_level(self, pipeline):
        """Before each step, known cells are what was given, noised to the level of that step with the one noise."""
        video, mask = noise(4, 32, 32, 3), hole(32, 32)
        known = pipeline.known_latents(from_video(video, mask, 32, 32), (1, 48, 4, 8, 8))
        seen, unet = [], pipeline.unet
        hook = unet.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
        try:
            pipeline.inpaint(
                PROMPT, video=video, mask=mask, seed=3, guidance_scale=1.0, **{**SMALL, "num_inference_steps": 5}
            )
        finally:
            hook.remove()

        start = torch.randn(1, 48, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        schedule = Schedule.of(pipeline.scheduler, 5, torch.device("cpu"))
        assert len(seen) == 5
        assert 0 < known.mask.float().mean() < 1
        for index, sample in enumerate(seen):
            alpha, sigma = schedule.noise_level(index)
            expected = alpha * known.values + sigma * start
            torch.testing.assert_close(sample[known.mask], expected[known.mask], atol=2e-3, rtol=0)

    def test_a_network_with_known_input_is_told_pixels_and_mask(self, tiny_folder):
        pipeline = LumierePipeline.from_pretrained(tiny_folder, device="cpu")
        first = noise(32, 32, 3)
        options = {"keyframes": [Keyframe(first, 0)], "num_frames": 4, **SMALL}
        known = from_keyframes(options["keyframes"], 4, 32, 32)
        before = pipeline.make(PROMPT, Options(num_frames=4, **SMALL), Given(known)).frames
        plain = pipeline.text_to_video(PROMPT, num_frames=4, **SMALL).frames
        pipeline.unet = pipeline.unet.with_known_input(48 + 16)
        unheeded = pipeline.image_to_video(PROMPT, **options).frames

        with torch.no_grad():
            pipeline.unet.temporal_embedding_known.weight.normal_(generator=torch.Generator().manual_seed(0))
        heeded = pipeline.image_to_video(PROMPT, **options).frames

        assert np.array_equal(before, unheeded)
        assert not np.array_equal(before, heeded)
        assert np.array_equal(heeded[0], first)
        assert np.array_equal(pipeline.text_to_video(PROMPT, num_frames=4, **SMALL).frames, plain)

    def test_a_network_that_copies_shows_what_is_known_of_a_place_and_draws_where_nothing_is(self, pipeline):
        copying = pipeline.unet.with_known_input(64, copy=True)
        drawn, hints = torch.randn(2, 1, 48, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        mask = torch.zeros(1, 16, 3, 8, 8)
        mask[:, :, :, :4] = 0.5
        told = {"timestep": torch.tensor([500.0]), "encoder_hidden_states": torch.zeros(1, 4, 32)}
        before = copying(torch.cat([drawn, hints, mask], dim=1), **told).sample

        with torch.no_grad():
            copying.temporal_embedding_copy.bias.fill_(30.0)
        after = copying(torch.cat([drawn, hints, mask], dim=1), **told).sample

        torch.testing.assert_close(after[..., :4, :], hints[..., :4, :])
        assert torch.equal(after[..., 4:, :], before[..., 4:, :])
        assert torch.equal(copying(drawn, **told).sample, pipeline.unet(drawn, **told).sample)

    def test_the_wider_network_is_saved_and_loaded(self, pipeline, tmp_path):
        wide = pipeline.unet.with_known_input(64)
        wide.save_pretrained(tmp_path)

        loaded = type(wide).from_pretrained(tmp_path)

        assert loaded.config.known_channels == 64
        assert loaded.temporal_embedding_known.weight.abs().max() == 0
        assert torch.equal(loaded.conv_in.weight, pipeline.unet.conv_in.weight)


def test_long_videos_are_made_in_windows(tiny_folder):
    pipeline = LumierePipeline.from_pretrained(tiny_folder, device="cpu")
    pipeline.card = {**pipeline.card, "window_frames": 8}
    lengths = []
    pipeline.unet.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[2]))

    clip = pipeline.text_to_video(PROMPT, num_frames=19, **{**SMALL, "num_inference_steps": 1}, guidance_scale=1.0)

    assert len(clip.frames) == 19
    assert lengths == [8] * 4
