"""What stands still keeps the detail of the picture that it was in.

A base model draws on a coarse grid, and super-resolution does not know what it enlarges. But of a place that was given
at another moment, and that looks on the coarse grid as it did then, the fine grid is known too: it is what was given,
and what little has changed on the coarse grid since is added to it.

Letters: t frames; h, w rows and columns of the base model's pixels; H, W of the finished frames'.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from model.conditioning import Frames, Known, chunks, on_grid
from model.latents import nearest_known

SAME, OTHER = 0.08, 0.24
"""Differences on the coarse grid, of 2 for all of its range, up to which a place is the same and from which it is
another."""
ALIKE, UNLIKE = 0.25, 0.6
"""Differences on the fine grid, of 2, that count beside another thing: a cell there that was covered a little by what
is gone has hardly changed, but what was given there shows its outline."""
BLENDED_AT_ONCE = 4
MOMENTS = 5
"""Frames over which differences are averaged, so that no place flickers between given and drawn."""


def keep_detail(frames: Frames, low: Tensor, known: Known) -> None:
    """Changes `frames`, uint8 (t, H, W, 3), enlarged from `low` (1, 3, t, h, w): they get the detail of what is known
    at other moments.
    """
    low = low.cpu()
    given, mask = on_grid(known, *low.shape[-2:])
    nearest, hinted = nearest_known(mask == 1)
    change = (low - given.gather(2, nearest.expand_as(given))) * hinted
    share = sameness(change)
    border = F.max_pool3d(1 - share, (1, 3, 3), 1, (0, 1, 1))
    share *= hinted
    for some in chunks(len(frames), BLENDED_AT_ONCE):
        if (share * (1 - mask))[:, :, some].any():  # else all that is not known was never seen
            there = pixels_of_moments(known.pixels, nearest[0, 0, some])
            frames[some] = blended(frames[some], there, *(x[0, :, some] for x in (change, share, border)))


def sameness(change: Tensor) -> Tensor:
    """The share (1, 1, t, h, w) that what was given has in the finished frames, by how it has changed (1, 3, t, h, w):
    1 where little has changed for a while, 0 where much has.
    """
    difference = change.abs().amax(dim=1, keepdim=True)
    around = MOMENTS // 2
    difference = F.avg_pool3d(
        F.pad(difference, (0, 0, 0, 0, around, around), mode="replicate"), (MOMENTS, 1, 1), stride=1
    )
    share = ((OTHER - difference) / (OTHER - SAME)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def pixels_of_moments(pixels: Frames, moments: Tensor) -> Frames:
    """For each cell the pixels (t, H, W, 3) of the frame that `moments` (t, h, w) tells."""
    height, width = pixels.shape[1:3]
    if (moments == moments[:, :1, :1]).all():
        return pixels[moments[:, 0, 0].numpy()]
    fine = F.interpolate(moments[:, None].float(), (height, width), mode="nearest-exact")[:, 0].long().numpy()
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return pixels[fine, rows.numpy(), columns.numpy()]


def blended(drawn: Frames, there: Frames, change: Tensor, share: Tensor, border: Tensor) -> Frames:
    """Drawn frames and what was there before, uint8 (t, H, W, 3); change (3, t, h, w) since then; share (1, t, h, w)
    that it has; border (1, t, h, w), 1 where another thing is near.
    """
    size = drawn.shape[1:3]
    changed, part, near = (
        F.interpolate(rearrange(x, "c t h w -> t c h w"), size, mode=mode, align_corners=False)
        for x, mode in ((change, "bicubic"), (share, "bilinear"), (border, "bilinear"))
    )
    part *= F.interpolate(rearrange((share > 0).float(), "c t h w -> t c h w"), size, mode="nearest-exact")
    drawn_now, known_then = (rearrange(torch.from_numpy(x), "t h w c -> t c h w") / 127.5 for x in (drawn, there))
    known_now = known_then + changed
    unlike = (known_now - drawn_now).abs().amax(dim=1, keepdim=True)
    part *= 1 - near * ((unlike - ALIKE) / (UNLIKE - ALIKE)).clamp(0, 1)
    mixed = torch.lerp(drawn_now, known_now, part)
    return rearrange((mixed * 127.5).round_().clamp_(0, 255).byte(), "t c h w -> t h w c").numpy()
