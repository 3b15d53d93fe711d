"""Photographs and masks as people have them, read into arrays: any mode, orientation and profile of the common
formats.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 50_000_000
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def read_image(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, shortest_side: int | None = None
) -> NDArray[np.uint8]:
    """RGB pixels (h, w, 3) of a JPEG, PNG or WebP file, upright. What is transparent lies on white; of an animation the
    first frame is read. An image is shrunk until its short side is `shortest_side`.

    Raises ValueError for a file that is no such image, is broken, or has more than `max_pixels` pixels,
        FileNotFoundError when there is none.
    """
    with opened(path, max_pixels) as image:
        upright = flat(image, WHITE)
        if shortest_side is not None and min(upright.size) > shortest_side:
            ratio = shortest_side / min(upright.size)
            upright = upright.resize([round(side * ratio) for side in upright.size], Image.Resampling.LANCZOS)
        return np.array(upright)


def read_mask(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """(1, h, w): where a black-and-white image is white, or at least brighter than middle grey. What is transparent is
    black. Raises as `read_image`.
    """
    with opened(path, max_pixels) as image:
        return np.asarray(flat(image, BLACK).convert("L"))[None] >= 128


@contextmanager
def opened(path: str | os.PathLike[str], max_pixels: int) -> Iterator[Image.Image]:
    """The image with its pixels loaded. Its size is looked at before anything is decoded."""
    name = os.path.basename(os.fspath(path))
    with refusals_named(name, max_pixels), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our own limit is below the one that is warned of
        image = Image.open(path, formats=FORMATS)
    with image:
        if image.width * image.height > max_pixels:
            raise ValueError(f"{name} must have at most {max_pixels} pixels, got {image.width}x{image.height}")
        with refusals_named(name, max_pixels):
            image.load()
            upright = ImageOps.exif_transpose(image)
        yield upright


@contextmanager
def refusals_named(name: str, max_pixels: int) -> Iterator[None]:
    """What Pillow says of a file, with the name of the file, and without its path."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} must have at most {max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a readable {' or '.join(FORMATS)} image") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{name} is not a readable {' or '.join(FORMATS)} image: {error}") from error


def flat(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """As RGB, on `background` where it is transparent."""
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off instead of scale
        levels = np.asarray(image, np.float64) / 257
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return image.convert("RGB")
