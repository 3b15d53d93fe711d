"""Video stylization that keeps to the motion of its source, whatever the new look does to its colours.

SDEdit (Meng et al. 2022) hides single frames of the source in noise. What moves quickly is hidden with them, and where
the look turns colours round, the network draws a subject of its own somewhere on the way. Two things are made to hold
of its estimates: what looks alike in the source looks alike; and what changes in the source shows there, if need be in
the colours that the estimate has for those of the source. Neither needs optical flow or another network.

Letters: c channels, t frames, h height, w width; s places, (h w); n all places of all frames.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from model.folding import fold, unfold

ALIKE = 0.3
"""Of the source's spread: how much colours at one place may differ to count as alike."""
AROUND = 0.5
"""What the eight places around one count beside it: an outline may lie on what is background in the source."""
SHOWS = 0.5
"""The share of the source's changes that shows in a look that keeps its motion; outlines, say, show no more."""
STILL = 0.05
"""Of the source's spread: changes that are not missed, such as a camera's noise."""
BACKGROUND = 0.3
"""Weight of what stands still beside what changes, where colours of source and estimate are compared."""
LARGEST_GAIN = 3.0
"""By which the contrast of mapped colours is brought back to that of the estimate."""
PAIRS_AT_ONCE = 2**21
"""Of frames, over all places: bounds memory, however long the video is."""


class SourceMotion:
    """source: clean latents (1, c p^2, t, h / p, w / p) of the video that is stylized. patch: p, see `LatentSpace`."""

    def __init__(self, source: Tensor, patch: int) -> None:
        self.patch = patch
        self.pixels = unfold(source, patch)
        self.spread = self.pixels.std().clamp(min=1e-6)
        self.looks = rearrange(surroundings(self.pixels), "1 c t h w -> (h w) t c")
        self.changes = flat(changes(self.pixels))
        self.energy = self.changes.square().sum(1, keepdim=True)  # n 1
        changing = self.energy / (self.energy + self.changes.shape[1] * (ALIKE * self.spread) ** 2)
        *_, frames, height, _ = self.pixels.shape
        self.changing = rearrange(changing, "(t h w) 1 -> 1 1 t h w", t=frames, h=height)

    def keep(self, x0: Tensor) -> Tensor:
        """An estimate of the source's shape, made to move as the source does; what stands still in the source keeps
        the look that it was given.
        """
        pixels = unfold(x0, self.patch)
        missing = (1 - self.shown(pixels) / SHOWS).clamp(min=0)
        return fold(self.alike(torch.lerp(pixels, self.recoloured(pixels), missing * self.changing)), self.patch)

    def alike(self, pixels: Tensor) -> Tensor:
        """At each place the average over the frames in which the source looks alike around it, (1, c, t, h, w)."""
        ours = rearrange(pixels, "1 c t h w -> (h w) t c")
        places, frames, channels = ours.shape
        apart = 2 * channels * (ALIKE * self.spread) ** 2
        averaged = torch.empty_like(ours)
        for some in torch.arange(places, device=ours.device).split(max(1, PAIRS_AT_ONCE // frames**2)):
            distances = torch.cdist(self.looks[some], self.looks[some]).square()  # s t t
            averaged[some] = (-distances / apart).softmax(dim=-1) @ ours[some]
        return rearrange(averaged, "(h w) t c -> 1 c t h w", h=pixels.shape[3])

    def shown(self, pixels: Tensor) -> Tensor:
        """The share of what changes in the source that can be read off what changes in an estimate, 0 to 1."""
        ours = flat(changes(pixels))
        rest = self.changes - ours @ least_squares(ours, self.changes, torch.ones_like(self.energy))
        ignored = (STILL * self.spread) ** 2 * self.changes.numel()
        return 1 - rest.square().sum() / (self.energy.sum() + ignored)

    def recoloured(self, pixels: Tensor) -> Tensor:
        """The source in the colours that an estimate has in its stead: one affine map for the whole clip."""
        ours, theirs = flat(pixels), flat(self.pixels)
        theirs = torch.cat([theirs, torch.ones_like(theirs[:, :1])], dim=1)
        weights = self.energy + BACKGROUND * self.energy.mean() + 1e-6
        mapped = theirs @ least_squares(theirs, ours, weights)
        mean = mapped.mean(0)
        gain = (ours.std(0) / mapped.std(0).clamp(min=1e-6)).clamp(1, LARGEST_GAIN)
        *_, frames, height, _ = pixels.shape
        return rearrange(mean + gain * (mapped - mean), "(t h w) c -> 1 c t h w", t=frames, h=height)


def surroundings(clip: Tensor) -> Tensor:
    """(1, c, t, h, w) -> (1, 9 c, t, h, w): the colours of each place and of the eight around it, as far as they count
    in squared distances.
    """
    frames = rearrange(clip, "1 c t h w -> t c h w")
    around = F.unfold(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3).unflatten(1, (-1, 9))
    shares = torch.full((9, 1), (AROUND / 8) ** 0.5, device=clip.device)
    shares[4] = 1
    return rearrange(around * shares, "t c k (h w) -> 1 (c k) t h w", h=frames.shape[2])


def changes(clip: Tensor) -> Tensor:
    """(1, c, t, h, w) without what is there all the time."""
    return clip - clip.mean(2, keepdim=True)


def flat(clip: Tensor) -> Tensor:
    return rearrange(clip, "1 c t h w -> (t h w) c")


def least_squares(given: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """(n, a), (n, b), (n, 1) -> the (a, b) by which `given` comes nearest to `wanted`; small where it says little."""
    weighted = (given * weights).T / weights.sum()
    ridge = 1e-4 * torch.eye(given.shape[1], device=given.device)
    return torch.linalg.solve(weighted @ given + ridge, weighted @ wanted)
