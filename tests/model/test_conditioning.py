"""What is known of a video: placing, regions, grids, and putting the known pixels back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from model.conditioning import (
    Box,
    Keyframe,
    Known,
    Margins,
    feathered,
    from_keyframes,
    from_still,
    from_video,
    keep,
    on_grid,
    place,
    place_region,
    placement,
    region_of_boxes,
)
from model.video_io import read_mp4, write_mp4


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class TestPlacing:
    @pytest.mark.parametrize("resize", ["cover", "contain", "stretch"])
    def test_an_input_of_the_right_size_is_not_touched(self, resize):
        frames = noise(3, 20, 30, 3)

        assert np.array_equal(place(frames, placement((20, 30), (20, 30), resize)), frames)

    def test_cover_cuts_both_sides_equally(self):
        frames = np.zeros((1, 10, 40, 3), np.uint8)
        frames[:, :, 10:30] = 200

        placed = place(frames, placement((10, 40), (10, 20), "cover"))

        assert placed.shape == (1, 10, 20, 3)
        assert (placed == 200).all()

    def test_contain_shows_all_and_leaves_the_borders_to_be_made(self):
        frames = np.full((1, 10, 40, 3), 200, np.uint8)
        where = placement((10, 40), (40, 40), "contain")

        borders = place_region(np.zeros((1, 10, 40), bool), where)

        assert place(frames, where).shape == (1, 40, 40, 3)
        assert (~borders).sum() == 10 * 40
        assert not borders[0, 15:25].any()

    def test_stretch_keeps_the_corners(self):
        frames = np.zeros((1, 10, 40, 3), np.uint8)
        frames[:, :5, :20] = 250

        placed = place(frames, placement((10, 40), (40, 20), "stretch"))

        assert placed[0, 2, 2, 0] > 240
        assert placed[0, -2, -2, 0] < 10

    @pytest.mark.parametrize(
        ("source", "target"), [((48, 65), (32, 32)), ((517, 333), (256, 256)), ((9, 17), (64, 48))]
    )
    def test_the_middle_is_cut_out_as_pillow_cuts_it(self, source, target):
        """To a part of a pixel: whoever compares a frame with the picture would see it shifted."""
        picture = noise(1, *source, 3)

        placed = place(picture, placement(source, target, "cover"))[0]

        fitted = ImageOps.fit(Image.fromarray(picture[0]), target[::-1], Image.Resampling.BICUBIC)
        assert np.abs(placed.astype(int) - np.asarray(fitted)).max() <= 1

    @given(st.tuples(*[st.integers(1, 90)] * 4), st.sampled_from(["cover", "contain", "stretch"]))
    def test_any_size_fits_on_any_other(self, sides, resize):
        source, target = sides[:2], sides[2:]
        where = placement(source, target, resize)
        dot = np.zeros((1, *source), bool)
        dot[0, source[0] // 2, source[1] // 2] = True

        assert place(noise(1, *source, 3), where).shape == (1, *target, 3)
        assert place_region(dot, where).shape == (1, *target)
        assert place_region(dot, where).any()

    @pytest.mark.parametrize("source", [(1, 1), (7, 1000), (1000, 7), (333, 221)])
    @pytest.mark.parametrize("resize", ["cover", "contain", "stretch"])
    def test_any_size_becomes_the_size_that_is_made(self, source, resize):
        where = placement(source, (64, 48), resize)

        assert place(noise(1, *source, 3), where).shape == (1, 64, 48, 3)
        assert place_region(np.ones((1, *source), bool), where).all()

    def test_margins_are_of_the_finished_frame(self):
        where = placement((30, 60), (40, 100), "stretch", Margins(left=0.2, top=0.25))

        anew = place_region(np.zeros((1, 30, 60), bool), where)

        assert anew[0, :10].all()
        assert anew[0, :, :20].all()
        assert not anew[0, 10:, 20:].any()

    def test_an_unknown_mode_is_named(self):
        with pytest.raises(ValueError, match=r"^resize must be one of cover"):
            placement((4, 4), (4, 4), "fill")

    @pytest.mark.parametrize("margins", [{"left": -0.1}, {"left": 0.5, "right": 0.5}, {"top": 1.0}])
    def test_margins_leave_room(self, margins):
        with pytest.raises(ValueError, match=r"^expand must"):
            Margins(**margins)


class TestBoxes:
    def test_without_times_one_frame_says_all(self):
        region = region_of_boxes([Box(0.25, 0.5, 0.5, 0.5)], 10, 16, 8, 16)

        assert region.shape == (1, 8, 16)
        assert region[0, 4:, 4:12].all()
        assert region.sum() == 4 * 8

    def test_times_are_seconds_from_start_up_to_end(self):
        region = region_of_boxes([Box(0, 0, 1, 1, 0.5, 1.0), Box(0, 0, 0.5, 1, None, 0.25)], 16, 8, 4, 4)

        assert region.any((1, 2)).nonzero()[0].tolist() == [0, 1, 4, 5, 6, 7]
        assert region[0].sum() == 8

    def test_a_box_that_covers_nothing_is_named(self):
        with pytest.raises(ValueError, match=r"^boxes\.1 must cover"):
            region_of_boxes([Box(0, 0, 1, 1), Box(0, 0, 1, 1, start=2.0)], 16, 16, 4, 4)


class TestKnown:
    def test_keyframes_count_from_either_end(self):
        first, last = noise(8, 8, 3), noise(8, 8, 3, seed=1)

        known = from_keyframes([Keyframe(first, 0), Keyframe(last, -1)], 5, 8, 8)

        assert known.mask.all((1, 2)).tolist() == [True, False, False, False, True]
        assert np.array_equal(known.pixels[0], first)
        assert np.array_equal(known.pixels[4], last)

    def test_a_moment_is_the_nearest_frame(self):
        image = noise(2, 2, 3)

        assert [Keyframe.at(image, seconds, 16).frame for seconds in (0, 0.03, 0.04, 2.5)] == [0, 0, 1, 40]

    @pytest.mark.parametrize(
        ("frames", "message"),
        [([5], r"keyframes\.0\.frame must be below num_frames"), ([4, -1], "twice"), ([], "at least")],
    )
    def test_keyframes_that_cannot_be(self, frames, message):
        with pytest.raises(ValueError, match=message):
            from_keyframes([Keyframe(noise(8, 8, 3), frame) for frame in frames], 5, 8, 8)

    def test_outside_of_the_region_a_video_is_known(self):
        video, region = noise(4, 8, 8, 3), np.zeros((1, 8, 8), bool)
        region[:, 2:5, 3:6] = True

        known = from_video(video, region, 8, 8)

        assert np.array_equal(~known.mask, np.broadcast_to(region, (4, 8, 8)))
        assert np.array_equal(known.pixels, video)

    def test_a_still_is_known_whole_in_the_first_frame_only(self):
        region = np.zeros((1, 8, 8), bool)
        region[:, :4] = True

        known = from_still(noise(8, 8, 3), region, 3, 8, 8)

        assert known.mask.sum((1, 2)).tolist() == [64, 32, 32]

    @pytest.mark.parametrize("region", [np.zeros((1, 8, 8), bool), np.ones((2, 8, 8), bool), np.ones((1, 8, 9), bool)])
    def test_regions_that_cannot_be(self, region):
        with pytest.raises(ValueError, match=r"^mask must"):
            from_video(noise(4, 8, 8, 3), region, 8, 8)

    def test_a_feather_lies_where_pixels_are_made_anew(self):
        known = np.ones((1, 20, 40), bool)
        known[:, :, 20:] = False

        share = feathered(known, 8)[0]

        assert (share[:, :20] == 255).all()
        assert (np.diff(share[10, 20:].astype(int)) <= 0).all()
        assert 200 < share[10, 20] < 255
        assert (share[:, 29:] == 0).all()


class TestGrid:
    def test_a_cell_is_known_only_if_all_its_pixels_are(self):
        share = np.full((1, 12, 12), 255, np.uint8)
        share[0, 4, 7] = 254
        known = Known(noise(1, 12, 12, 3), share)

        _, mask = on_grid(known, 4, 4)

        assert mask[0, 0, 0].tolist() == [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1]]

    @pytest.mark.parametrize("grid", [(4, 4), (5, 7), (8, 12), (24, 36)])
    def test_what_is_made_anew_has_no_influence(self, grid):
        """Nothing under the mask can leak into what the network is told, on grids of any ratio."""
        share = np.where(noise(3, 24, 36, seed=2) > 200, 0, 255).astype(np.uint8)
        one, other = noise(3, 24, 36, 3), noise(3, 24, 36, 3, seed=1)
        other[share == 255] = one[share == 255]

        told = [on_grid(Known(pixels, share), *grid) for pixels in (one, other)]

        assert torch.equal(told[0][0], told[1][0])
        assert torch.equal(told[0][1], told[1][1])

    def test_some_frames_are_those_of_all(self):
        known = Known(noise(40, 8, 8, 3), np.full((40, 8, 8), 255, np.uint8))

        whole, part = on_grid(known, 4, 4)[0], on_grid(known, 4, 4, slice(3, 30))[0]

        assert torch.equal(whole[:, :, 3:30], part)

    def test_known_pixels_are_put_back_bit_by_bit(self):
        share = np.minimum(noise(20, 16, 16, seed=3), 254)
        share[:, :4], share[:, 4:8] = 255, 0
        given, made = noise(20, 16, 16, 3), noise(20, 16, 16, 3, seed=4)

        kept = keep(made, Known(given, share))

        assert np.array_equal(kept[:, :4], given[:, :4])
        assert np.array_equal(kept[:, 4:8], made[:, 4:8])
        low, high = np.minimum(given, made), np.maximum(given, made)
        assert ((kept >= low) & (kept <= high)).all()

    @pytest.mark.parametrize("edges", [(8, 24), (9, 23), (9, 24)])
    def test_what_is_made_beside_known_pixels_takes_no_colour_from_them_in_the_file(self, tmp_path, edges):
        """4:2:0 has one colour for 2x2 pixels: the edge of a hole may run through them."""
        y, x = np.mgrid[:32, :48]
        smooth = np.stack([40 + 4 * y, 200 - 3 * x, 60 + x + y], -1).astype(np.uint8)
        write_mp4(np.repeat(smooth[None], 6, axis=0), tmp_path / "source.mp4", 16)
        given = read_mp4(tmp_path / "source.mp4")[0]
        share = np.full((6, 32, 48), 255, np.uint8)
        share[:, edges[0] : edges[1], edges[0] : edges[1]] = 0
        made = np.broadcast_to(np.array([250, 0, 250], np.uint8), given.shape)

        kept = keep(made, Known(given, share))

        known = share == 255
        assert np.array_equal(kept[known], given[known])
        assert (kept[:, 10:22, 10:22] == (250, 0, 250)).all()
        write_mp4(kept, tmp_path / "made.mp4", 16)
        error = read_mp4(tmp_path / "made.mp4")[0][known].astype(float) - given[known]
        assert np.square(error).mean() <= 255**2 / 10**4.2  # 42 dB
