"""Where a known subject is in a clip that shows it in another look: by the colours that the look gives it."""

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from model.video_io import Frames

BINS = 12
"""Of each of red, green and blue."""
NEIGHBOURS = 0.5
"""How much a neighbouring bin counts beside a bin itself."""


def colour_track(frames: Frames, cover: NDArray[np.floating]) -> NDArray[np.float64]:
    """(t, 2): x and y of the subject in uint8 (t, h, w, 3), as fractions of the frame.

    cover: (t, h, w) in [0, 1], where the subject is in the clip that `frames` was made from. It only says which colours
    are more frequent in the subject's place than elsewhere, over the whole clip; pixels of such colours then count by
    that surplus, wherever they are. A clip in which nothing follows the subject has no such colours, or not where the
    subject goes, and its track does not correlate. Unlike `measures.track`, this needs no background that is seen bare
    most of the time.
    """
    red, green, blue = rearrange(frames.astype(np.int64) * BINS // 256, "t h w c -> c t h w")
    keys = (red * BINS + green) * BINS + blue
    inside, outside = (frequencies(keys, weights) for weights in (cover, 1 - cover))
    share = (inside / np.maximum(inside + outside, 1e-12))[keys]
    weights = np.clip(2 * share - 1, 0, None) ** 2
    height, width = weights.shape[1:]
    mass = np.maximum(weights.sum((1, 2)), 1e-12)
    x = weights.sum(1) @ ((np.arange(width) + 0.5) / width) / mass
    y = weights.sum(2) @ ((np.arange(height) + 0.5) / height) / mass
    return np.stack([x, y], axis=1)


def frequencies(keys: NDArray[np.int64], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """(BINS**3,): of the colours, smoothed over neighbours, sum 1."""
    counts = np.bincount(keys.ravel(), weights.ravel(), BINS**3).reshape(BINS, BINS, BINS)
    mixing = np.eye(BINS) + NEIGHBOURS * (np.eye(BINS, k=1) + np.eye(BINS, k=-1))
    counts = np.einsum("rgb,rx,gy,bz->xyz", counts, mixing, mixing, mixing, optimize=True)
    frequency: NDArray[np.float64] = counts.ravel() / max(counts.sum(), 1e-12)
    return frequency


def correlation(track: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Of two tracks (t, 2), along the axis on which the second moves more; 0 where the first stands still."""
    axis = int(other[:, 1].var() > other[:, 0].var())
    one, two = track[:, axis], other[:, axis]
    spread = one.std() * two.std()
    return float(((one - one.mean()) * (two - two.mean())).mean() / spread) if spread > 1e-9 else 0.0
