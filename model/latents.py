"""Between pixels and latents, what the network denoises.

Letters: b videos, c channels, t frames, h height, w width. Pixels are in [-1, 1].

A model in pixel space folds p x p pixels into channels (`patch_size`), which lets a small network work on a coarse
grid; a latent model has a VAE. Both go through `encode` and `decode`.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from model.clip import FRAMES_AT_ONCE
from model.conditioning import Frames, Known, chunks, on_grid
from model.folding import fold, unfold

HINTED = 0.5
"""M where C is of another moment."""


class KnownLatents:
    """Known pixels on the network's grid. values: latents, 0 where unknown. mask: bool of the same shape.

    channels: C and M as a network with known input reads them, (b, `known_channels`, t, h, w). Where a place is not
    known but was or will be, C is what it shows at the nearest moment, and M is one half: so image-to-video networks
    are given their picture beside every frame (Blattmann et al. 2023, "Stable Video Diffusion", appendix D). Without
    that a picture has to find its way through time within the network, which keeps little of it.
    """

    def __init__(self, values: Tensor, cells: Tensor, patch: int) -> None:
        colours = values.shape[1] // patch**2
        known = fold(cells, patch) == 1
        self.mask = fold(repeat(cells, "b 1 t h w -> b c t h w", c=colours), patch) == 1
        self.values = values * self.mask
        nearest, hinted = nearest_known(known)
        hints = self.values.gather(2, repeat(nearest, "b p t h w -> b (c p) t h w", c=colours))
        self.channels = torch.cat([hints, known + HINTED * (hinted & ~known)], dim=1)

    def keep(self, x0: Tensor) -> Tensor:
        return torch.where(self.mask, self.values, x0)


def nearest_known(known: Tensor) -> tuple[Tensor, Tensor]:
    """For each of `known`, bool (b, p, t, h, w), the frame nearest in time, the earlier of two, in which its place is
    known, and whether there is one.
    """
    frames = known.shape[2]
    moment = torch.arange(frames, device=known.device).view(-1, 1, 1)
    earlier = torch.where(known, moment, -frames).cummax(dim=2).values
    later = torch.where(known, moment, 2 * frames).flip(2).cummin(dim=2).values.flip(2)
    nearest = torch.where(moment - earlier <= later - moment, earlier, later)
    return nearest.clamp(0, frames - 1), (earlier >= 0) | (later < frames)


class LatentSpace:
    """The part of a pipeline that knows its grid: `unet`, `vae` or None, `config.patch_size` and `device` are its
    own.
    """

    unet: Any
    vae: Any
    config: Any
    device: torch.device

    @property
    def pixels_per_cell(self) -> int:
        """Pixels along one side of a cell of the network's grid."""
        of_vae = 1 if self.vae is None else 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.config.patch_size * of_vae

    @property
    def base_resolution(self) -> int:
        """Pixels along the short side of what the network makes, before upscaling."""
        return self.unet.config.sample_size * self.pixels_per_cell

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int, int]:
        """(1, c, t, h, w) of the grid whose short side is the one trained on, with the aspect of height x width."""
        cells = self.unet.config.sample_size
        short = min(height, width)
        rows, columns = (round(side * cells / short) for side in (height, width))
        return 1, self.latent_channels, num_frames, rows, columns

    @property
    def latent_channels(self) -> int:
        of_pixels = 3 if self.vae is None else self.vae.config.latent_channels
        return of_pixels * self.config.patch_size**2

    def known_latents(self, known: Known, shape: tuple[int, ...]) -> KnownLatents:
        """What is known, on the network's grid of `shape` (1, c, t, h, w)."""
        rows, columns = (cells * self.pixels_per_cell for cells in shape[-2:])
        side = self.pixels_per_cell // self.config.patch_size  # of a cell of the VAE
        values, cells = [], []
        for some in chunks(len(known.pixels)):
            pixels, mask = (part.to(self.device) for part in on_grid(known, rows, columns, some))
            values.append(self.encode(pixels))
            cells.append(1 - F.max_pool3d(1 - mask, (1, side, side)))
        return KnownLatents(torch.cat(values, dim=2), torch.cat(cells, dim=2), self.config.patch_size)

    def source_latents(self, source: Frames, shape: tuple[int, ...]) -> Tensor:
        """A whole video on the network's grid."""
        everything = Known(source, np.broadcast_to(np.uint8(255), source.shape[:3]))
        return self.known_latents(everything, shape).values

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (b, 3, t, h, w) in [-1, 1] -> latents, float32. h, w: multiples of `pixels_per_cell`."""
        if self.vae is not None:
            config = self.vae.config
            frames = rearrange(pixels, "b c t h w -> (b t) c h w").to(self.vae.dtype)
            encoded = [self.vae.encode(some).latent_dist.mode() for some in frames.split(FRAMES_AT_ONCE)]
            latents = (torch.cat(encoded).float() - (config.shift_factor or 0.0)) * config.scaling_factor
            pixels = rearrange(latents, "(b t) c h w -> b c t h w", b=pixels.shape[0])
        return fold(pixels.float(), self.config.patch_size)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> pixels (b, 3, t, h, w), float32. The inverse of `encode`."""
        pixels = unfold(latents, self.config.patch_size)
        if self.vae is not None:
            config = self.vae.config
            frames = rearrange(pixels, "b c t h w -> (b t) c h w") / config.scaling_factor + (
                config.shift_factor or 0.0
            )
            frames = frames.to(self.vae.dtype)
            decoded = [self.vae.decode(some, return_dict=False)[0].float() for some in frames.split(FRAMES_AT_ONCE)]
            pixels = rearrange(torch.cat(decoded), "(b t) c h w -> b c t h w", b=pixels.shape[0])
        return pixels
