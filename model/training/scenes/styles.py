"""How a scene is put together in each style: layers (n, t, 3, h, w) and the subject's coverage in, finished frames
out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from model.training.scenes.painting import grain


@dataclass(frozen=True)
class Layers:
    """Background and subject (premultiplied) (n, t, 3, h, w), coverage (n, t, 1, h, w), times (n, t), jitter (n, J)."""

    background: Tensor
    subject: Tensor
    cover: Tensor
    times: Tensor
    jitter: Tensor

    @property
    def size(self) -> int:
        return self.cover.shape[-1]


def stacked(background: Tensor, subject: Tensor, cover: Tensor) -> Tensor:
    return background * (1 - cover) + subject


def framewise(function: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
    n = video.shape[0]
    return rearrange(function(rearrange(video, "n t c h w -> (n t) c h w")), "(n t) c h w -> n t c h w", n=n)


def spread(cover: Tensor, pixels: int) -> Tensor:
    return framewise(lambda frames: F.max_pool2d(frames, 2 * pixels + 1, 1, pixels), cover)


def blurred(video: Tensor, pixels: int) -> Tensor:
    pad = [pixels] * 4
    return framewise(lambda frames: F.avg_pool2d(F.pad(frames, pad, mode="replicate"), 2 * pixels + 1, 1), video)


def brightness(video: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114], device=video.device)[:, None, None]
    return (video * weights).sum(2, keepdim=True)


def plain(layers: Layers) -> Tensor:
    return stacked(layers.background, layers.subject, layers.cover)


def watercolor(layers: Layers) -> Tensor:
    pixels = max(1, layers.size // 48)
    ground = 0.45 * blurred(layers.background, 2 * pixels) + 0.55
    pigment = stacked(ground, layers.subject * 0.82 + 0.18 * layers.cover, layers.cover)
    bleed = 0.6 * pigment + 0.4 * blurred(pigment, pixels)
    rim = (blurred(layers.cover, pixels) * (1 - layers.cover) * 4).clamp(0, 1)
    paper = 1 + grain(layers.jitter, layers.size, 0.10)[:, None]
    return (bleed * (1 - 0.25 * rim) * paper).clamp(0, 1)


def sticker(layers: Layers) -> Tensor:
    pixels = max(1, layers.size // 28)
    border = spread(layers.cover, pixels)
    shadow = blurred(border, pixels).roll((pixels, pixels), dims=(-2, -1)) * (1 - border)
    pale = 0.5 * layers.background.mean((-2, -1), keepdim=True) + 0.2 * layers.background + 0.3
    vivid = (layers.subject * 1.12).clamp(0, 1)
    return stacked(
        pale * (1 - 0.45 * shadow), border * (1 - layers.cover) + vivid * layers.cover.clamp(min=1e-3), border
    )


def melting_gold(layers: Layers) -> Tensor:
    dark = layers.background * 0.42
    column = torch.arange(layers.size, device=dark.device) / layers.size
    drip = (torch.sin(column * 41 + layers.jitter[:, :1] * 20) * torch.sin(column * 23)).clamp(min=0)
    reach = drip[:, None, None, None] * (0.05 + 0.018 * layers.times[:, :, None, None, None]) * layers.size
    cover, light = layers.cover, brightness(layers.subject)
    for step in range(1, max(2, layers.size // 7)):
        hanging = layers.cover.roll(step, dims=-2) * (reach > step)
        hanging[..., :step, :] = 0
        light = torch.where(hanging > cover, torch.full_like(light, 0.62), light)
        cover = torch.maximum(cover, hanging)
    ramp = (light * 1.5).clamp(0, 1)
    gold = torch.cat([0.45 + 0.55 * ramp, 0.24 + 0.62 * ramp, 0.03 + 0.42 * ramp**2], dim=2)
    gleam = 0.30 * (torch.sin(14 * light + 2.2 * layers.times[:, :, None, None, None]) > 0.85)
    return stacked(dark, (gold + gleam).clamp(0, 1) * cover, cover)


def wooden_blocks(layers: Layers) -> Tensor:
    block = max(2, layers.size // 16)
    cells = layers.size // block
    flat = plain(layers)
    coarse = framewise(lambda frames: F.adaptive_avg_pool2d(frames, cells), flat)
    solid = framewise(lambda frames: F.interpolate(frames, size=(layers.size, layers.size), mode="nearest"), coarse)
    line = torch.arange(layers.size, device=flat.device) % block
    lit, shaded = (line == 0).float(), (line == block - 1).float()
    bevel = 1 + 0.16 * torch.maximum(lit[:, None], lit[None]) - 0.34 * torch.maximum(shaded[:, None], shaded[None])
    rings = 0.06 * torch.sin(torch.arange(layers.size, device=flat.device) * 2.1)[:, None]
    wood = torch.tensor([0.72, 0.50, 0.28], device=flat.device)[:, None, None]
    return ((solid * 0.80 + wood * 0.20 + rings) * bevel).clamp(0, 1)


def origami(layers: Layers) -> Tensor:
    line = torch.arange(layers.size, device=layers.cover.device) / layers.size
    y, x = line[:, None], line[None]

    def facets(scale: float, depth: float) -> Tensor:
        rising, falling = torch.floor((x + y) * scale), torch.floor((x - y) * scale)
        return 1 + depth * (torch.sin(rising * 2.4 + falling * 4.1))

    paper = (0.55 * blurred(layers.background, max(1, layers.size // 24)) + 0.42) * facets(3.0, 0.07)
    folded = layers.subject * facets(9.0, 0.22)
    edge = (spread(layers.cover, 1) - layers.cover).clamp(0, 1)
    return (stacked(paper, folded, layers.cover) * (1 - edge) + edge * 0.98).clamp(0, 1)


def line_drawing(layers: Layers) -> Tensor:
    picture = plain(layers)
    grey = framewise(lambda frames: F.pad(frames, [1, 1, 1, 1], mode="replicate"), brightness(picture))
    slope_x = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]).abs()
    slope_y = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]).abs()
    ink = ((slope_x + slope_y) * 2.6 - 0.12).clamp(0, 1)
    wash = layers.cover * 0.45
    colour = layers.subject / layers.cover.clamp(min=1e-3)
    paper = torch.tensor([0.98, 0.97, 0.94], device=picture.device)[:, None, None]
    return (paper * (1 - wash) + colour * wash) * (1 - 0.85 * ink)


STYLISTS: dict[str, Callable[[Layers], Tensor]] = {
    "plain": plain,
    "watercolor": watercolor,
    "sticker": sticker,
    "melting gold": melting_gold,
    "wooden blocks": wooden_blocks,
    "origami": origami,
    "line drawing": line_drawing,
}
