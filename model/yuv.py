"""RGB pixels as 4:2:0 holds them, BT.709 in the range of television: a luma for each pixel, two colours for each block
of 2x2.

A block's colours are the mean of its pixels'. Luma is not BT.709's weighted sum but what brings each pixel nearest to
its RGB once a decoder has given it the colours of its block: the same where all four are of one colour. It is rounded
up, because the conversion to RGB that ffmpeg, PyAV and OpenCV share rounds down, by a level on average.
"""

import numpy as np
from numpy.typing import NDArray

RED, BLUE = 0.2126, 0.0722
"""Shares in luma; the rest is green's."""
GREEN = 1 - RED - BLUE
LUMA_LEVELS, COLOUR_LEVELS = 219 / 255, 224 / 255
PER_U, PER_V = (2 - 2 * BLUE) / COLOUR_LEVELS, (2 - 2 * RED) / COLOUR_LEVELS
"""What a level of u adds to blue, and one of v to red."""
MEAN_PER_U, MEAN_PER_V = PER_U * (1 - BLUE / GREEN) / 3, PER_V * (1 - RED / GREEN) / 3
"""What they add to the mean of red, green and blue: green loses what keeps luma as it is."""


def to_yuv420(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3), even sides -> the planes one after the other, (3 h / 2, w), as PyAV takes them for yuv420p."""
    height, width = pixels.shape[:2]
    colours = pixels.transpose(2, 0, 1).astype(np.float32)
    blocks = (colours[:, ::2, ::2] + colours[:, 1::2, ::2] + colours[:, ::2, 1::2] + colours[:, 1::2, 1::2]) / 4
    red, green, blue = blocks
    luma = RED * red + GREEN * green + BLUE * blue
    u = np.rint((blue - luma) / PER_U).clip(-112, 112)
    v = np.rint((red - luma) / PER_V).clip(-112, 112)
    y = colours.mean(axis=0).reshape(height // 2, 2, width // 2, 2)
    y -= (MEAN_PER_U * u + MEAN_PER_V * v)[:, None, :, None]
    y = np.ceil(y * LUMA_LEVELS - 1e-3).clip(0, 219)
    planes = (y + 16, u + 128, v + 128)
    return np.concatenate([plane.astype(np.uint8).ravel() for plane in planes]).reshape(height * 3 // 2, width)
