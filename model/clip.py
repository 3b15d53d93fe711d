"""What the pipeline gives back, and the steps from pixels to it."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

FRAMES_AT_ONCE = 16
"""Frames that per-frame stages work on at a time: bounds memory, changes nothing."""


@dataclass(frozen=True)
class Clip:
    """A made video.

    frames: uint8 RGB, (t, h, w, 3). timings: seconds by stage. upscale: "none", or how the frames were enlarged from
        the size the network works at. prompt_tokens_used of prompt_tokens_max: a prompt longer than that was cut off.
    """

    frames: NDArray[np.uint8]
    timings: dict[str, float]
    upscale: str
    prompt_tokens_used: int
    prompt_tokens_max: int
    prompt_truncated: bool


@dataclass
class Stopwatch:
    """Seconds by stage; waits for the device, so that a stage is not charged for another's work."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name] = time.perf_counter() - started


def to_frames(pixels: Tensor, height: int, width: int) -> NDArray[np.uint8]:
    """Pixels (1, 3, t, h, w) in [-1, 1] -> uint8 (t, height, width, 3), by bicubic interpolation where sizes differ."""
    return joined([pixels], pixels.shape[2], height, width)


def joined(blocks: Iterable[Tensor], num_frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """`to_frames` of a clip that arrives in blocks of consecutive frames."""
    done = np.empty((num_frames, height, width, 3), np.uint8)
    begin = 0
    for block in blocks:
        for frames in rearrange(block, "1 c t h w -> t c h w").split(FRAMES_AT_ONCE):
            if frames.shape[-2:] != (height, width):
                frames = F.interpolate(frames, size=(height, width), mode="bicubic", antialias=True)
            levels = ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            done[begin : begin + len(frames)] = rearrange(levels, "t c h w -> t h w c").cpu().numpy()
            begin += len(frames)
    return done
