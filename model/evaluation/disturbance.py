"""What a generator does to a picture of the world, done to rendered ones, so that a judge of it looks past that."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor

COARSEST = 2.4
"""How much smaller a clip is made at most before it is enlarged again."""


def disturbed(clips: Tensor, generator: Generator) -> Tensor:
    """Clips (n, 3, t, h, w) in [-1, 1] softened, darkened or lightened, and noisy, each to a random degree."""
    softens, size, gain, noise = torch.rand(4, generator=generator).tolist()
    if softens < 0.7:
        clips = softened(clips, 1 + (COARSEST - 1) * size)
    grain = torch.randn(clips.shape, generator=generator)
    return (clips * (0.85 + 0.3 * gain) + 0.16 * noise * grain).clamp(-1, 1)


def softened(clips: Tensor, factor: float) -> Tensor:
    """Made smaller by `factor`, and as large as before."""
    flat = rearrange(clips, "n c t h w -> (n t) c h w")
    height, width = flat.shape[-2:]
    small = F.interpolate(flat, (round(height / factor), round(width / factor)), mode="area")
    large = F.interpolate(small, (height, width), mode="bicubic")
    return rearrange(large, "(n t) c h w -> n c t h w", n=len(clips))
