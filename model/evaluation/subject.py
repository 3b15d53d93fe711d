"""What a subject does, measured on the pixels where the finder sees it: colour, track, direction, period, size.

No class is learned here: the rules are geometry, so they check the judge from outside.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.training.scenes.attributes import COLOURS

STEADY_WAY, STEADY_GROWTH = 0.9, 0.7
"""How straight in time (correlation) a way must be to be one way, and a change of size, which is found less exactly."""
FAR = 0.25
"""Of the frame's side: less is not a way across."""
RESTLESS = 0.1
"""Of the frame's side: less is no movement."""
RESIZED = math.log(1.25)
SHORTEST_PERIOD = 0.6
"""Seconds."""
HUED, ENOUGH = 0.16, 0.3
"""Chroma from which a pixel has a hue, and the share of such pixels from which they decide."""
PERIODIC = 0.5
"""Autocorrelation at the period below which there is none."""


@dataclass(frozen=True)
class Track:
    """Of one clip, each (t,): centre of the subject and its size (root of the covered share), in sides of the frame."""

    x: Tensor
    y: Tensor
    size: Tensor


def track_of(cover: Tensor) -> Track:
    """From coverage (t, h, w) in [0, 1]. Where next to nothing is covered, the centre is that of the clip's mean."""
    line_y, line_x = ((torch.arange(side) + 0.5) / side for side in cover.shape[1:])
    solid = (cover - 0.3).clamp(min=0)
    area = solid.sum((1, 2))
    seen = area > 0.002 * area.max().clamp(min=1e-6)
    x = torch.where(seen, (solid.sum(1) * line_x).sum(1) / area.clamp(min=1e-6), math.nan)
    y = torch.where(seen, (solid.sum(2) * line_y).sum(1) / area.clamp(min=1e-6), math.nan)
    return Track(
        x.nan_to_num(float(x.nanmean().nan_to_num(0.5))),
        y.nan_to_num(float(y.nanmean().nan_to_num(0.5))),
        (cover > 0.5).float().mean((1, 2)).sqrt(),
    )


def colour_of(frames: Tensor, cover: Tensor) -> str:
    """The colour of the world that a subject has; frames (3, t, h, w) in [-1, 1], cover (t, h, w).

    Most subjects have some black and white about them, so what has a hue decides if it is enough; among hues the
    stronger count more.
    """
    inside = cover > min(0.98, 0.98 * float(cover.max()))
    pixels = ((frames[:, inside].T + 1) / 2).clamp(0, 1)
    palette = torch.tensor(list(COLOURS.values()))
    hued = chroma(palette) > HUED
    coloured = chroma(pixels) > HUED
    if coloured.float().mean() > ENOUGH:
        shown = pixels[coloured]
        nearest = torch.cdist(tint(shown), tint(palette[hued])).argmin(1)
        votes, names = nearest.bincount(weights=chroma(shown).square(), minlength=int(hued.sum())), hued
    else:
        nearest = torch.cdist(pixels[~coloured].mean(0, keepdim=True), palette[~hued]).argmin(1)
        votes, names = nearest.bincount(minlength=int((~hued).sum())), ~hued
    return list(COLOURS)[int(names.nonzero().flatten()[votes.argmax()])]


def chroma(rgb: Tensor) -> Tensor:
    """Of colours (n, 3) in [0, 1]: 0 is a grey."""
    return rgb.amax(1) - rgb.amin(1)


def tint(rgb: Tensor) -> Tensor:
    """Colours (n, 3) that have one, as points by hue (on a circle of radius 2) and saturation, without brightness."""
    red, green, blue = rgb.unbind(1)
    along, across = red - (green + blue) / 2, math.sqrt(3) / 2 * (green - blue)
    length = torch.hypot(along, across) / 2
    return torch.stack([along / length, across / length, chroma(rgb) / rgb.amax(1)], dim=1)


def direction_of(track: Track) -> str | None:
    """left, right, rising or falling, if the subject goes one way."""
    x, y = way(track.x), way(track.y)
    if max(abs(x), abs(y)) < FAR:
        return None
    if abs(x) >= abs(y):
        return ("right" if x > 0 else "left") if steady(track.x, STEADY_WAY) else None
    return ("falling" if y > 0 else "rising") if steady(track.y, STEADY_WAY) else None


def resizing_of(track: Track) -> str | None:
    """growing or shrinking, if the subject becomes so much larger or smaller."""
    size = track.size.clamp(min=0.02).log()
    if abs(way(size)) < RESIZED or not steady(size, STEADY_GROWTH):
        return None
    return "growing" if way(size) > 0 else "shrinking"


def way(values: Tensor) -> float:
    """From the mean of the first tenth to that of the last."""
    tenth = max(1, len(values) // 10)
    return float(values[-tenth:].mean() - values[:tenth].mean())


def steady(values: Tensor, least: float) -> bool:
    time = torch.arange(len(values), dtype=values.dtype)
    return abs(float(torch.corrcoef(torch.stack([time, values]))[0, 1])) > least


def motion_of(track: Track) -> str:
    """A motion of the world by geometry alone. `in place` is spinning or standing still: a track cannot tell."""
    one_way = resizing_of(track) or direction_of(track)
    if one_way is not None:
        return one_way
    across, down = extent(track.x), extent(track.y)
    if max(across, down) < RESTLESS:
        return "in place"
    if across < 0.5 * down:
        return "bouncing"
    return "orbiting" if down > 0.6 * across else "swinging"


def extent(values: Tensor) -> float:
    low, high = values.quantile(torch.tensor([0.03, 0.97]))
    return float(high - low)


@dataclass(frozen=True)
class Period:
    """seconds: None where nothing comes again. strength: how alike the track is one period later, up to 1."""

    seconds: float | None
    strength: float


def period_of(track: Track, fps: float) -> Period:
    """By autocorrelation of the centre's path: its first peak after it was negative."""
    path = torch.stack([track.x, track.y]).double()
    likeness = autocorrelation(path, longest=int(0.8 * path.shape[1]))
    below = (likeness < 0).nonzero()
    if len(below) == 0 or extent(track.x) + extent(track.y) < RESTLESS:
        return Period(None, 0.0)
    start = max(int(below[0]), round(SHORTEST_PERIOD * fps))
    rest = likeness[start:]
    peaks = ((rest[1:-1] >= rest[:-2]) & (rest[1:-1] > rest[2:]) & (rest[1:-1] > 0)).nonzero().flatten() + 1
    if len(peaks) == 0:
        return Period(None, 0.0)
    high = peaks[rest[peaks] >= 0.8 * rest[peaks].max()][0] + start
    before, at, after = likeness[high - 1 : high + 2].tolist()
    offset = 0.5 * (before - after) / (before - 2 * at + after)
    return Period((int(high) + offset) / fps if at >= PERIODIC else None, at)


def autocorrelation(path: Tensor, longest: int) -> Tensor:
    """Correlation of a path (d, t) with itself, for lags 0 to `longest`; each over the moments that overlap."""
    likeness = []
    for lag in range(longest + 1):
        early, late = path[:, : path.shape[1] - lag], path[:, lag:]
        early, late = early - early.mean(1, keepdim=True), late - late.mean(1, keepdim=True)
        scale = (early.square().sum() * late.square().sum()).sqrt().clamp(min=1e-12)
        likeness.append((early * late).sum() / scale)
    return torch.stack(likeness)
