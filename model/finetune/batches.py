"""Batches of clips: which clip goes into which batch of which process is a function of seed and step alone.

So a run that is resumed at step n reads what it would have read, and nothing about the data has to be saved.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.finetune.videos import CaptionedVideo
from model.finetune.windows import Extent, read_window

ASPECTS = (9 / 16, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 16 / 9)
"""Width to height of the buckets."""


class Draw(NamedTuple):
    """A clip to be read: of video number `video`, from `start` (0 first window, 1 last), to fill `size` (h, w)."""

    video: int
    start: float
    size: tuple[int, int]
    captioned: bool


class ClipBatch(NamedTuple):
    """pixels: uint8 (b, 3, t, h, w). captions: "" where the clip teaches the network to draw without a prompt."""

    pixels: Tensor
    captions: list[str]


@dataclass(frozen=True)
class Clips(Dataset):
    """The training clips that a list of videos holds. Reading happens where the loader's workers are."""

    videos: list[CaptionedVideo]
    extents: list[Extent]
    frames: int
    fps: float

    def __getitem__(self, draw: Draw) -> tuple[Tensor, str]:
        video, extent = self.videos[draw.video], self.extents[draw.video]
        pixels = read_window(video, extent, draw.start, self.frames, self.fps, draw.size)
        return pixels, video.caption if draw.captioned else ""


def bucket(extent: Extent, short: int, step: int) -> tuple[int, int]:
    """(h, w) to train a video at: the nearest of ASPECTS, its short side `short`, its long one a multiple of `step`."""
    aspect = min(ASPECTS, key=lambda aspect: abs(math.log(aspect * extent.height / extent.width)))
    long = max(short, round(short * max(aspect, 1 / aspect) / step) * step)
    return (short, long) if aspect >= 1 else (long, short)


def plan(sizes: list[tuple[int, int]], batch_size: int, seed: int, caption_dropout: float) -> Iterator[list[Draw]]:
    """Batches without end, each of one size. Every video comes once an epoch; what fills no batch waits for the next.

    sizes: of each video's bucket.
    """
    waiting: dict[tuple[int, int], list[Draw]] = {}
    for epoch in itertools.count():
        random = np.random.default_rng((seed, epoch))
        starts, captioned = random.random(len(sizes)), random.random(len(sizes)) >= caption_dropout
        for video in random.permutation(len(sizes)):
            size = sizes[video]
            draws = waiting.setdefault(size, [])
            draws.append(Draw(int(video), float(starts[video]), size, bool(captioned[video])))
            if len(draws) == batch_size:
                yield waiting.pop(size)


def collate(samples: list[tuple[Tensor, str]]) -> ClipBatch:
    return ClipBatch(torch.stack([pixels for pixels, _ in samples]), [caption for _, caption in samples])


def clip_loader(
    clips: Clips, batches: Iterator[list[Draw]], first: int, rank: int, processes: int, workers: int, pin: bool
) -> Iterator[ClipBatch]:
    """This process's share of `batches`: number `first` of it and what follows."""
    mine = itertools.islice(batches, first * processes + rank, None, processes)
    return iter(
        DataLoader(
            clips,
            batch_sampler=mine,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin,
            persistent_workers=workers > 0,
        )
    )
