"""Photographs of every kind, written by Pillow itself."""

import io

import numpy as np
import pytest
from PIL import Image

from model.image_io import read_image, read_mask

RED, GREEN = (220, 20, 30), (20, 200, 40)


def halves(mode: str = "RGB") -> Image.Image:
    """Left half red, right half green, 40 x 20."""
    image = Image.new("RGB", (40, 20), RED)
    image.paste(GREEN, (20, 0, 40, 20))
    return image.convert(mode)


@pytest.mark.parametrize(("mode", "suffix"), [
    ("RGB", "png"), ("RGB", "jpg"), ("RGB", "webp"), ("RGBA", "png"), ("P", "png"), ("CMYK", "jpg"), ("RGBA", "webp")
])  # fmt: skip
def test_modes_and_formats(tmp_path, mode, suffix):
    halves(mode).save(tmp_path / f"x.{suffix}")

    pixels = read_image(tmp_path / f"x.{suffix}")

    assert (pixels.shape, pixels.dtype) == ((20, 40, 3), np.uint8)
    assert np.abs(pixels[10, 5].astype(int) - RED).max() < 40
    assert np.abs(pixels[10, 35].astype(int) - GREEN).max() < 40


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_greys(tmp_path, mode):
    grey = np.repeat(np.array([[0, 255]], np.uint8), 8, axis=0)
    deep = mode == "I;16"
    image = Image.fromarray(grey.astype(np.uint16) * 257) if deep else Image.fromarray(grey).convert(mode)
    image.save(tmp_path / "x.png")

    assert read_image(tmp_path / "x.png")[4].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(tmp_path, orientation):
    """As a camera stores them: turned pixels, and a tag that says how to turn them back."""
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # EXIF orientation -> Pillow's transpose that undoes it
    image = halves()
    if orientation > 1:
        image = image.transpose(Image.Transpose(turned[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.jpg", exif=exif, quality=95, subsampling=0)

    pixels = read_image(tmp_path / "x.jpg")

    assert pixels.shape == (20, 40, 3)
    assert np.abs(pixels[10, 5].astype(int) - RED).max() < 25


def test_what_is_transparent_lies_on_white(tmp_path):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (*GREEN, 255))
    image.save(tmp_path / "x.png")

    assert read_image(tmp_path / "x.png")[0].tolist() == [[255, 255, 255], list(GREEN)]


def test_masks_are_white_where_they_are_bright(tmp_path):
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(tmp_path / "x.png")
    see_through = Image.new("RGBA", (2, 1), (255, 255, 255, 0))
    see_through.putpixel((1, 0), (255, 255, 255, 255))
    see_through.save(tmp_path / "y.png")

    assert read_mask(tmp_path / "x.png").tolist() == [[[False, False, True, True]]]
    assert read_mask(tmp_path / "y.png").tolist() == [[[False, True]]]


def whole_png() -> bytes:
    file = io.BytesIO()
    halves().resize((200, 200)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"no image", b"%PDF-1.7", b"GIF89a", whole_png()[:200], whole_png()[:-40]])
def test_files_that_are_no_image(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)

    with pytest.raises(ValueError, match=r"^x\.png is not a readable") as refusal:
        read_image(tmp_path / "x.png")
    assert str(tmp_path) not in str(refusal.value)


def test_what_pillow_refuses_by_itself_is_named_too(tmp_path):
    halves().save(tmp_path / "x.png", icc_profile=bytes(5_000_000))
    Image.new("L", (60_000, 10_000)).save(tmp_path / "y.jpg", quality=1)

    with pytest.raises(ValueError, match=r"^x\.png is not a readable"):
        read_image(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"^y\.jpg must have at most 50000000 pixels$"):
        read_image(tmp_path / "y.jpg")


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    Image.new("1", (30_000, 30_000)).save(tmp_path / "x.png")

    with pytest.raises(ValueError, match=r"^x\.png must have at most 50000000 pixels"):
        read_image(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"at most 700 pixels, got 40x20"):
        halves().save(tmp_path / "y.png")
        read_image(tmp_path / "y.png", max_pixels=700)


def test_large_photographs_are_shrunk(tmp_path):
    halves().save(tmp_path / "x.png")

    assert read_image(tmp_path / "x.png", shortest_side=5).shape == (5, 10, 3)
    assert read_image(tmp_path / "x.png", shortest_side=40).shape == (20, 40, 3)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "x.png")
