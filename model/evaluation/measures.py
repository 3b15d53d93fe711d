"""Measurements of a clip that need no network: colour of what moves, its track, flicker, smoothness and seams."""

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.scenes.attributes import COLOURS
from model.video_io import Frames


@dataclass(frozen=True)
class Smoothness:
    """Adjacent-frame figures on 0-255, as published for Lumiere's own clips.

    flicker: 1 - mean |f(t+1) - f(t)| / 255. jerk_ratio: mean |second difference| / mean |first difference|; independent
    noise gives about 1.73, steady change 0. first_to_last: mean |last - first|, without which flicker rewards
    stillness. peak_to_median: of the steps between frames, 99th percentile over median; far above 2 is a cut or the
    seam of two windows.
    """

    flicker: float
    jerk_ratio: float
    first_to_last: float
    peak_to_median: float


def smoothness(frames: Frames) -> Smoothness:
    """Of a clip of at least three frames."""
    levels = frames.astype(np.float32)
    steps = np.abs(np.diff(levels, axis=0)).mean((1, 2, 3))
    first = steps.mean()
    second = np.abs(np.diff(levels, n=2, axis=0)).mean()
    return Smoothness(
        flicker=float(1 - first / 255),
        jerk_ratio=float(second / max(first, 1e-6)),
        first_to_last=float(np.abs(levels[-1] - levels[0]).mean()),
        peak_to_median=float(np.quantile(steps, 0.99) / max(np.median(steps), 1e-6)),
    )


EXACT_DB = 99.0
"""Stands for the infinite PSNR of equal pixels."""


STILL = 8
"""Levels, of 255, up to which a pixel is the same."""


def psnr(frames: NDArray[np.uint8], given: NDArray[np.uint8]) -> float:
    """Decibels, at most EXACT_DB, of pixels against others of the same shape."""
    error = np.square(frames.astype(np.float64) - given).mean()
    return EXACT_DB if error == 0 else min(EXACT_DB, float(10 * np.log10(255**2 / error)))


def seam_ratio(frames: Frames, region: NDArray[np.bool_]) -> float:
    """How much more neighbouring pixels differ across the border of `region` (h, w) than beside it: 1 is no seam."""
    levels = frames.astype(np.float32)
    across, beside = [], []
    for axis in (0, 1):
        differs = np.abs(np.diff(levels, axis=axis + 1)).mean((0, 3))
        border = np.diff(region, axis=axis)
        along = np.moveaxis(border, axis, 0)
        near = np.zeros_like(along)
        near[1:] |= along[:-1]
        near[:-1] |= along[1:]
        across.append(differs[border])
        beside.append(differs[np.moveaxis(near, 0, axis) & ~border])
    if not sum(map(len, across)) or not sum(map(len, beside)):
        raise ValueError("region must have a border with pixels on both sides")
    return float(np.concatenate(across).mean() / max(float(np.concatenate(beside).mean()), 1e-6))


def first_step_ratio(frames: Frames) -> float:
    """The step from the first frame to the second, in median steps: far above 1, the video leaves a given image."""
    steps = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))
    return float(steps[0] / max(float(np.median(steps)), 1e-6))


def still_psnr(frames: Frames, true: Frames) -> float:
    """PSNR against the true clip where and when that shows what its first frame did; the first frame does not count.
    Nan if it never does."""
    still = (np.abs(true.astype(np.int16) - true[:1]).max(-1) <= STILL)[1:]
    return psnr(frames[1:][still], true[1:][still]) if still.any() else math.nan


def moving_mask(frames: Frames) -> NDArray[np.bool_]:
    """(t, h, w): where a frame differs from the clip's median frame, that is from what does not move."""
    levels = frames.astype(np.float32)
    still = np.median(levels, axis=0)
    difference = np.abs(levels - still).max(-1)
    return difference > max(24.0, float(np.quantile(difference, 0.90)))


def track(frames: Frames) -> NDArray[np.float64]:
    """(t, 3): centroid x and y and area of what moves, as fractions of the frame; NaN where nothing does."""
    mask = moving_mask(frames)
    _, height, width = mask.shape
    area = mask.sum((1, 2)).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = (mask.sum(1) * (np.arange(width) + 0.5) / width).sum(1) / area
        y = (mask.sum(2) * (np.arange(height) + 0.5) / height).sum(1) / area
    return np.stack([x, y, area / (height * width)], axis=1)


def dominant_colour(frames: Frames) -> str:
    """The palette colour nearest to most of the pixels that move."""
    pixels = frames[moving_mask(frames)].reshape(-1, 3)
    if len(pixels) == 0:
        pixels = frames.reshape(-1, 3)
    names = list(COLOURS)
    palette = np.stack([_perceptual(np.asarray(COLOURS[name])[None])[0] for name in names])
    distance = ((_perceptual(pixels[:: max(1, len(pixels) // 20_000)] / 255)[:, None] - palette) ** 2).sum(-1)
    votes = np.bincount(distance.argmin(1), minlength=len(names))
    return names[int(votes.argmax())]


def _perceptual(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours (n, 3) in [0, 1] as points in the hue-chroma-value cone: hue counts only as far as there is chroma."""
    hsv = np.array([colorsys.rgb_to_hsv(*colour) for colour in rgb])
    angle, chroma, value = 2 * np.pi * hsv[:, 0], hsv[:, 1] * hsv[:, 2], hsv[:, 2]
    return np.stack([2 * chroma * np.cos(angle), 2 * chroma * np.sin(angle), value], axis=1)
