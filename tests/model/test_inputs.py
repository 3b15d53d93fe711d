"""Files as people have them, on their way into a video: what is shown is what Pillow shows of them."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks.first_frame import PHOTOGRAPHS, as_people_see
from model.conditioning import Box, Keyframe
from model.inputs import read_picture, read_region, read_source

SMALL = {"height": 64, "width": 96, "num_inference_steps": 1}
LIGHT = [name for name in PHOTOGRAPHS if "large" not in name and "1600" not in name]


@pytest.mark.parametrize("name", LIGHT)
def test_any_picture_is_the_first_frame(pipeline, tmp_path, name):
    PHOTOGRAPHS[name](tmp_path / name)
    picture = read_picture(tmp_path / name, 96, 64)

    clip = pipeline.image_to_video("a red ball", keyframes=[Keyframe(picture, 0)], num_frames=2, **SMALL)

    shown = ImageOps.fit(as_people_see(tmp_path / name), (96, 64), Image.Resampling.BICUBIC)
    assert np.abs(clip.frames[0].astype(int) - np.asarray(shown)).mean() < 1.5  # large ones are shrunk in two steps


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (31, 2)])
def test_pictures_of_a_few_pixels(pipeline, tmp_path, size):
    Image.new("RGB", size, (200, 40, 90)).save(tmp_path / "dot.png")
    picture = read_picture(tmp_path / "dot.png", 96, 64)

    clip = pipeline.image_to_video("a red ball", keyframes=[Keyframe(picture, 0)], num_frames=2, **SMALL)

    assert (clip.frames[0] == (200, 40, 90)).all()


@pytest.mark.parametrize("size", [(50, 40), (7, 3), (400, 300)])
def test_a_mask_of_another_size_is_stretched(tmp_path, size):
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 2, 0, *size))
    mask.save(tmp_path / "mask.png")

    region = read_region(tmp_path / "mask.png", [], 5, 16, 40, 100)

    assert region.shape == (1, 40, 100)
    edge = round(100 * (size[0] // 2) / size[0])
    assert not region[0, :, : edge - 1].any()
    assert region[0, :, edge + 1 :].all()


def test_masks_and_boxes_add_up(tmp_path):
    Image.new("L", (8, 8), 0).save(tmp_path / "black.png")

    region = read_region(tmp_path / "black.png", [Box(0, 0, 0.5, 1, end=0.1)], 4, 16, 16, 16)

    assert region.mean((1, 2)).tolist() == [0.5, 0.5, 0, 0]


def test_an_animated_gif_is_a_source_and_an_animated_webp_is_refused_by_name(tmp_path):
    still, turned = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    for name in ("film.gif", "film.webp"):
        still.save(tmp_path / name, save_all=True, append_images=[turned], duration=250, lossless=True)

    film = read_source(tmp_path / "film.gif", 8, 80, 96, 64)

    assert film.shape == (4, 48, 64, 3)
    assert film.argmax(-1)[:, 0, 0].tolist() == [0, 0, 2, 2]
    with pytest.raises(ValueError, match=r"^film\.webp is not a readable MP4, WebM or GIF video"):
        read_source(tmp_path / "film.webp", 8, 80, 96, 64)
