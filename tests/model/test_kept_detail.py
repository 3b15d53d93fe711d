"""What stands still keeps the detail of the picture that was given."""

import numpy as np
import torch
import torch.nn.functional as F

from model.conditioning import Keyframe, Known, from_keyframes, from_video
from model.kept_detail import keep_detail
from model.latents import KnownLatents, nearest_known

T, H, W = 12, 64, 48


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 196, (H, W, 3), np.uint8)


def low_of(frames: np.ndarray) -> torch.Tensor:
    """(t, H, W, 3) -> (1, 3, t, H / 4, W / 4), as an exact base model would draw them."""
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.avg_pool2d(pixels, 4).permute(1, 0, 2, 3)[None]


def blank(frames: int = T) -> np.ndarray:
    return np.full((frames, H, W, 3), 7, np.uint8)


class TestKeepDetail:
    def test_what_has_not_changed_is_the_picture_itself(self):
        given = picture()
        frames = blank()

        keep_detail(frames, low_of(given[None].repeat(T, 0)), from_keyframes([Keyframe(given, 0)], T, H, W))

        assert np.abs(frames.astype(int) - given).max() <= 1

    def test_what_is_another_thing_now_stays_as_it_was_drawn(self):
        given = picture()
        frames = blank()
        shown = given[None].repeat(T, 0)
        shown[:, :, W // 2 :] = 255

        keep_detail(frames, low_of(shown), from_keyframes([Keyframe(given, 0)], T, H, W))

        assert (frames[:, :, W // 2 :] == 7).all()
        assert np.abs(frames[:, :, : W // 2 - 16].astype(int) - given[:, : W // 2 - 16]).max() <= 1

    def test_no_outline_is_left_of_what_is_gone(self):
        """A thin rim of it reaches into cells that else show the ground."""
        ground = np.full((H, W, 3), 120, np.uint8)
        given = ground.copy()
        given[20:40, 12:32] = 250
        given[20:40, 32] = 10
        shown = ground[None].repeat(T, 0)
        shown[0] = given
        frames = ground[None].repeat(T, 0)

        keep_detail(frames, low_of(shown), from_keyframes([Keyframe(given, 0)], T, H, W))

        assert np.abs(frames[6:].astype(int) - 120).max() <= 30

    def test_a_little_more_light_falls_on_the_detail_too(self):
        given = picture()
        frames = blank()
        low = low_of(given[None].repeat(T, 0)) + 6 / 127.5

        keep_detail(frames, low, from_keyframes([Keyframe(given, 0)], T, H, W))

        assert np.abs(frames.astype(int) - (given.astype(int) + 6)).max() <= 1

    def test_a_place_takes_the_keyframe_that_is_nearer(self):
        first, last = picture(1), picture(2)
        shown = np.stack([first] * 6 + [last] * 6)
        frames = blank()

        keep_detail(frames, low_of(shown), from_keyframes([Keyframe(first, 0), Keyframe(last, -1)], T, H, W))

        assert np.abs(frames[:3].astype(int) - first).max() <= 1
        assert np.abs(frames[-3:].astype(int) - last).max() <= 1

    def test_nothing_leaks_from_a_hole_and_what_was_seen_beside_a_moving_one_comes_back(self):
        given = picture()
        source = given[None].repeat(T, 0)
        hole = np.zeros((T, H, W), bool)
        hole[: T // 2, :32, :16] = True  # moves from the left to the right
        hole[T // 2 :, :32, 32:] = True
        hole[:, 48:, :] = True  # and one that is never seen through
        source[hole] = 255
        frames = blank()

        keep_detail(frames, low_of(given[None].repeat(T, 0)), from_video(source, hole, H, W))

        assert np.abs(frames[:, :44].astype(int) - given[:44]).max() <= 1
        assert (frames[:, 52:] == 7).all()

    def test_where_nothing_is_known_nothing_changes(self):
        frames = blank()
        nothing = Known(picture()[None].repeat(T, 0), np.zeros((T, H, W), np.uint8))

        keep_detail(frames, torch.zeros(1, 3, T, H // 4, W // 4), nothing)

        assert (frames == 7).all()


class TestNearestKnown:
    def test_the_nearest_moment_the_earlier_of_two(self):
        known = torch.zeros(1, 1, 7, 1, 2, dtype=torch.bool)
        known[0, 0, [1, 5], 0, 0] = True

        nearest, hinted = nearest_known(known)

        assert nearest[0, 0, :, 0, 0].tolist() == [1, 1, 1, 1, 5, 5, 5]
        assert hinted[0, 0, :, 0, 0].all()
        assert not hinted[0, 0, :, 0, 1].any()

    def test_a_network_is_told_what_a_place_shows_at_other_moments(self):
        values = torch.arange(1.0, 1 + 3 * 5 * 4).reshape(1, 3, 5, 2, 2)
        cells = torch.zeros(1, 1, 5, 2, 2)
        cells[:, :, 2, 0] = 1

        told = KnownLatents(values, cells, patch=1).channels

        colours, mask = told.split([3, 1], dim=1)
        assert torch.equal(colours[:, :, :, 0], values[:, :, 2:3, 0].expand(-1, -1, 5, -1))
        assert mask[0, 0, :, 0].unique(dim=1).flatten().tolist() == [0.5, 0.5, 1.0, 0.5, 0.5]
        assert not told[:, :, :, 1].any()
