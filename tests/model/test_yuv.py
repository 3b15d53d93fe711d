"""Colours of 4:2:0 against the definition of BT.709."""

import numpy as np
import pytest

from model.yuv import to_yuv420


def planes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = pixels.shape[:2]
    y, u, v = np.split(to_yuv420(pixels).ravel(), [height * width, height * width * 5 // 4])
    return y.reshape(height, width), u.reshape(height // 2, -1), v.reshape(height // 2, -1)


def decoded(pixels: np.ndarray, luma: np.ndarray | None = None) -> np.ndarray:
    """RGB by the definition, in floats, each block's colours repeated over its pixels."""
    y, u, v = (plane.astype(float) for plane in planes(pixels))
    y = y if luma is None else luma
    of_blue, of_red = (
        (plane - 128).repeat(2, 0).repeat(2, 1) * (255 / 224) * (2 - 2 * share)
        for plane, share in ((u, 0.0722), (v, 0.2126))
    )
    of_green = -(0.2126 * of_red + 0.0722 * of_blue) / 0.7152
    return (y - 16)[..., None] * (255 / 219) + np.stack([of_red, of_green, of_blue], -1)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255), (90, 140, 200)])
def test_blocks_of_one_colour_come_back(colour):
    pixels = np.broadcast_to(np.array(colour, np.uint8), (4, 6, 3))

    assert np.abs(decoded(pixels) - colour).max() < 2.5  # half a level of u or v, one of y
    if len(set(colour)) == 1:
        assert {int(value) for value in planes(pixels)[1].ravel()} == {128}


def test_no_other_luma_comes_nearer_but_for_being_rounded_up():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    y = planes(pixels)[0].astype(float)
    inside = (y > 17) & (y < 234)

    def error(luma: np.ndarray) -> np.ndarray:
        return np.square(decoded(pixels, luma) - pixels).sum(-1)[inside]

    exact = y - (decoded(pixels) - pixels).mean(-1) * (219 / 255)
    assert ((y - exact)[inside] >= 0).all()
    assert ((y - exact)[inside] <= 1.01).all()
    assert (error(exact) <= error(exact + 0.5) + 1e-6).all()
    assert (error(exact) <= error(exact - 0.5) + 1e-6).all()
