"""A small network that says where the subject of a frame is, trained on rendered frames, whose coverage is known.

What is measured of a subject (colour, track, size, period) is then plain arithmetic on the pixels that it found.
"""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from model.evaluation.disturbance import disturbed
from model.evaluation.learning import Schedule, learn
from model.training.scenes.attributes import sample_scenes
from model.training.scenes.motions import CLIP_SECONDS
from model.training.scenes.render import render_with_cover

FOUND_SIZE = 32
"""Pixels along each side of what the finder sees, and of the coverage that it gives."""
WEIGHTS = Path(__file__).parent / "finder.safetensors"
STEPS = 700
BATCH = 64
PLAIN_SHARE = 0.6


def block(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1), nn.GroupNorm(8, out), nn.SiLU())


class Finder(nn.Module):
    """Logits of the subject's coverage (n, 1, FOUND_SIZE, FOUND_SIZE) in frames (n, 3, FOUND_SIZE, FOUND_SIZE)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.first = block(3, width)
        self.down = nn.ModuleList(nn.Sequential(block(a, b, 2), block(b, b)) for a, b in pairwise(widths))
        self.up = nn.ModuleList(block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.first(frames.contiguous(memory_format=torch.channels_last))
        levels = []
        for down in self.down:
            levels.append(x)
            x = down(x)
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), levels.pop()], dim=1))
        return self.last(x)


def coverage_loss(logits: Tensor, cover: Tensor) -> Tensor:
    """Cross-entropy, and what the overlap lacks of being whole (Dice), which does not forget small subjects."""
    share = logits.sigmoid()
    overlap = (2 * (share * cover).sum((1, 2, 3)) + 1) / (share.sum((1, 2, 3)) + cover.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, cover) + 0.5 * (1 - overlap).mean()


def train_finder(steps: int = STEPS, path: Path = WEIGHTS, start_from: Path | None = None, seed: int = 78) -> float:
    """Trains and saves a finder; returns the mean overlap (IoU) with the truth on frames of seeds it has not seen.

    start_from: a finder, perhaps of a smaller world, to begin with.
    """
    torch.manual_seed(seed)
    finder = Finder() if start_from is None else load_finder(start_from)

    def loss_of(step: int) -> Tensor:
        frames, cover = rendered_frames(BATCH, seed * 1_000_003 + step)
        softened = disturbed(frames, Generator().manual_seed(step))
        return coverage_loss(finder(softened.squeeze(2)), cover.squeeze(2))

    learn(finder, Schedule(steps), loss_of, path.with_suffix(".checkpoint"))
    save_file(finder.state_dict(), path)
    return overlap(finder.eval(), frames=512, seed=seed + 5_000_011)


def rendered_frames(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """One frame of each of n scenes, at any moment, and its coverage, both (n, ., 1, FOUND_SIZE, FOUND_SIZE)."""
    generator = Generator().manual_seed(seed)
    scenes = sample_scenes(n, generator, split="any", plain_share=PLAIN_SHARE)
    return render_with_cover(scenes, CLIP_SECONDS * torch.rand(n, 1, generator=generator), FOUND_SIZE)


@torch.no_grad()
def overlap(finder: Finder, frames: int, seed: int) -> float:
    shown, cover = rendered_frames(frames, seed)
    found, there = finder(shown.squeeze(2)) > 0, cover.squeeze(2) > 0.5
    return float(((found & there).sum((1, 2, 3)) / (found | there).sum((1, 2, 3)).clamp(min=1)).mean())


def load_finder(path: Path = WEIGHTS) -> Finder:
    finder = Finder()
    finder.load_state_dict(load_file(path))
    return finder.eval()


@torch.no_grad()
def found(finder: Finder, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Clips (n, 3, t, h, w) in [-1, 1] of any size at FOUND_SIZE, and the coverage (n, t, FOUND_SIZE, FOUND_SIZE) in
    [0, 1] of their subjects.
    """
    flat = rearrange(clips, "n c t h w -> (n t) c h w")
    small = F.interpolate(flat, (FOUND_SIZE, FOUND_SIZE), mode="bilinear", antialias=True)
    cover = rearrange(finder(small).sigmoid(), "(n t) 1 h w -> n t h w", n=len(clips))
    return rearrange(small, "(n t) c h w -> n c t h w", n=len(clips)), cover
