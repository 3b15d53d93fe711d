"""Pixels folded into channels: p x p pixels of a frame become one cell with p*p times the channels.

The fold is a permutation, so noise stays white and known pixels stay exact. It lets a small network work on a coarse
grid.
Legend: b videos, c channels, t frames, h and w rows and columns of cells, p and q the patch.
"""

from einops import rearrange
from torch import Tensor


def fold(pixels: Tensor, patch: int) -> Tensor:
    """(b, c, t, h*p, w*p) -> (b, c*p*p, t, h, w). Raises einops.EinopsError if the sides are not multiples of
    `patch`."""
    return rearrange(pixels, "b c t (h p) (w q) -> b (c p q) t h w", p=patch, q=patch)


def unfold(cells: Tensor, patch: int) -> Tensor:
    """The inverse of `fold`."""
    return rearrange(cells, "b (c p q) t h w -> b c t (h p) (w q)", p=patch, q=patch)
