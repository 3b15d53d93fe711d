"""How a scene is put together in each style: layers (n, t, 3, h, w) and the subject's coverage in, finished frames
out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from model.training.scenes.painting import chance_of, grain, mottle


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
    k = 2 * pixels + 1
    wider = framewise(lambda frames: F.max_pool2d(frames, (1, k), 1, (0, pixels)), cover)
    return framewise(lambda frames: F.max_pool2d(frames, (k, 1), 1, (pixels, 0)), wider)


def blurred(video: Tensor, pixels: int) -> Tensor:
    k, pad = 2 * pixels + 1, [pixels] * 4
    return framewise(
        lambda frames: F.avg_pool2d(F.avg_pool2d(F.pad(frames, pad, mode="replicate"), (1, k), 1), (k, 1), 1), video
    )


def shifted(video: Tensor, down: int, right: int) -> Tensor:
    """A video moved by whole pixels; what comes in at the edges is what was there."""
    h, w = video.shape[-2:]
    rows = (torch.arange(h, device=video.device) - down).clamp(0, h - 1)
    columns = (torch.arange(w, device=video.device) - right).clamp(0, w - 1)
    return video[..., rows, :][..., columns]


def detail(size: int) -> float:
    """How much of what is finer than a 32nd of the frame shows at a size: from 0 to 1."""
    return min(1.0, max(0.0, (size - 32) / 96))


def brightness(video: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114], device=video.device)[:, None, None]
    return (video * weights).sum(2, keepdim=True)


def plain(layers: Layers) -> Tensor:
    return stacked(layers.background, layers.subject, layers.cover)


def watercolor(layers: Layers) -> Tensor:
    pixels, size = max(1, layers.size // 48), layers.size
    ground = 0.45 * blurred(layers.background, 2 * pixels) + 0.55
    pigment = stacked(ground, layers.subject * 0.82 + 0.18 * layers.cover, layers.cover)
    bleed = 0.6 * pigment + 0.4 * blurred(pigment, pixels)
    rim = (blurred(layers.cover, pixels) * (1 - layers.cover) * 4).clamp(0, 1)
    line = (torch.arange(size, device=bleed.device) + 0.5) / size
    phase = layers.jitter[:, 0, None, None]
    blooms = mottle(line[None, :, None], line[None, None], 14, phase, octaves=2)[:, None, None]
    fibres = mottle(line[None, :, None], line[None, None] * 1.4, 120, 0 * phase, octaves=2)[:, None, None]
    thickness = 1 - bleed.mean(2, keepdim=True)  # darker paint settles more in the paper's hollows and at its edges
    paper = 1 + grain(layers.jitter, size, 0.10 - 0.06 * detail(size))[:, None]
    settled = 1 + detail(size) * thickness * (0.16 * blooms + 0.16 * fibres)
    return (bleed * (1 - 0.25 * rim) * paper * settled).clamp(0, 1)


def sticker(layers: Layers) -> Tensor:
    pixels = max(1, layers.size // 28)
    border = spread(layers.cover, pixels)
    if pixels > 2:  # cut round the corners
        border = torch.maximum(((blurred(border, pixels // 2) - 0.42) * pixels).clamp(0, 1), layers.cover)
    shadow = shifted(blurred(border, pixels), pixels, pixels) * (1 - border)
    pale = 0.5 * layers.background.mean((-2, -1), keepdim=True) + 0.2 * layers.background + 0.3
    line = torch.arange(layers.size, device=border.device) / layers.size
    gloss = torch.exp(-((((line[:, None] + line[None] * 0.6) % 0.5 - 0.25) / 0.05) ** 2)) * 0.16 * detail(layers.size)
    vivid = (layers.subject * 1.12).clamp(0, 1)
    vivid = vivid + (layers.cover - vivid).clamp(min=0) * gloss
    edge = border * (1 - 0.10 * detail(layers.size) * (1 - shifted(border, -pixels // 3, -pixels // 3)))
    return stacked(pale * (1 - 0.45 * shadow), edge * (1 - layers.cover) + vivid * layers.cover.clamp(min=1e-3), border)


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
    wide = max(1, layers.size // 64)
    soft = blurred(cover, wide)
    relief = (shifted(soft, -wide, -wide) - shifted(soft, wide, wide)) * detail(layers.size)
    light = (light + 0.30 * relief).clamp(min=0)
    ramp = (light * 1.5).clamp(0, 1)
    gold = torch.cat([0.45 + 0.55 * ramp, 0.24 + 0.62 * ramp, 0.03 + 0.42 * ramp**2], dim=2)
    gleam = 0.30 * (torch.sin(14 * light + 2.2 * layers.times[:, :, None, None, None]) > 0.85)
    lamp = torch.tensor([0.16, 0.11, 0.03], device=dark.device)[:, None, None] * detail(layers.size)
    return stacked(dark + lamp * blurred(cover, 5 * wide), (gold + gleam).clamp(0, 1) * cover, cover)


def wooden_blocks(layers: Layers) -> Tensor:
    block = max(2, layers.size // 16)
    cells = layers.size // block
    flat = plain(layers)
    coarse = framewise(lambda frames: F.adaptive_avg_pool2d(frames, cells), flat)
    solid = framewise(lambda frames: F.interpolate(frames, size=(layers.size, layers.size), mode="nearest"), coarse)
    wood = torch.tensor([0.72, 0.50, 0.28], device=flat.device)[:, None, None]
    faces = block_faces if block >= 6 else flat_faces
    rings, light = faces(layers.size, block, flat.device)
    return ((solid * 0.80 + wood * 0.20 + rings) * light).clamp(0, 1)


def flat_faces(size: int, block: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Grain and light (size, size) of blocks of a few pixels: a light and a dark edge each."""
    line = torch.arange(size, device=device) % block
    lit, shaded = (line == 0).float(), (line == block - 1).float()
    bevel = 1 + 0.16 * torch.maximum(lit[:, None], lit[None]) - 0.34 * torch.maximum(shaded[:, None], shaded[None])
    return 0.06 * torch.sin(torch.arange(size, device=device) * 2.1)[:, None].expand(size, size), bevel


def block_faces(size: int, block: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Grain and light (size, size) of blocks with rounded edges, a stud each and grain of their own, lit from the
    upper left."""
    pixel = torch.arange(size, device=device)
    row, column = (pixel // block)[:, None].float(), (pixel // block)[None].float()
    place = (pixel % block + 0.5) / block * 2 - 1
    y, x = place[:, None], place[None]
    kind = chance_of(row, column)
    turned = kind > 0.5
    along, across = torch.where(turned, y, x), torch.where(turned, x, y)
    bent = across + 0.07 * torch.sin(2.2 * along + 6.3 * kind) * (1 + kind)
    rings = 0.026 * torch.sin((7 + 5 * kind) * (bent + 2 * kind)) + 0.012 * torch.sin(23 * bent + 9 * kind)

    def rounded(at: Tensor) -> Tensor:
        return torch.sign(at) * ((at.abs() - 0.70) / 0.30).clamp(min=0) ** 2

    corner = ((y.abs() - 0.72).clamp(min=0) ** 2 + (x.abs() - 0.72).clamp(min=0) ** 2).sqrt()
    gap = ((corner - 0.24) * block / 2).clamp(0, 1)
    face = -0.17 * (rounded(y) + rounded(x))
    radius = (y**2 + x**2).sqrt()
    slope = torch.exp(-(((radius - 0.44) / 0.10) ** 2)) * (y + x) / radius.clamp(min=0.1)
    shadow = torch.exp(-(((((y - 0.12) ** 2 + (x - 0.12) ** 2).sqrt() - 0.46) / 0.12) ** 2)) * (radius > 0.44)
    light = 1 + 0.08 * (kind - 0.5) + face - 0.15 * slope - 0.10 * shadow + 0.06 * (radius < 0.44)
    return rings, (light * (1 - 0.55 * gap)).clamp(min=0.2)


def origami(layers: Layers) -> Tensor:
    line = torch.arange(layers.size, device=layers.cover.device) / layers.size
    y, x = line[:, None], line[None]
    fine = detail(layers.size)

    def facets(scale: float, depth: float) -> Tensor:
        one, other = (x + y) * scale, (x - y) * scale
        rising, falling = torch.floor(one), torch.floor(other)
        flat = depth * torch.sin(rising * 2.4 + falling * 4.1)
        turning = 0.5 * depth * ((one - rising) - (other - falling))  # light runs over each facet
        nearest = torch.minimum((one - one.round()).abs(), (other - other.round()).abs()) * layers.size / scale
        crease = 0.4 * depth * (1.4 - nearest).clamp(0, 1)
        return 1 + flat + fine * (turning + crease)

    paper = (0.55 * blurred(layers.background, max(1, layers.size // 24)) + 0.42) * facets(3.0, 0.07)
    wide = max(1, layers.size // 40)
    shade = shifted(blurred(layers.cover, wide), wide, wide) * 0.30 * fine
    folded = layers.subject * facets(9.0, 0.22)
    edge = (spread(layers.cover, max(1, layers.size // 128)) - layers.cover).clamp(0, 1)
    return (stacked(paper * (1 - shade), folded, layers.cover) * (1 - edge) + edge * 0.98).clamp(0, 1)


def line_drawing(layers: Layers) -> Tensor:
    picture = plain(layers)
    grey = framewise(lambda frames: F.pad(frames, [1, 1, 1, 1], mode="replicate"), brightness(picture))
    slope_x = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]).abs()
    slope_y = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]).abs()
    ink = ((slope_x + slope_y) * 2.6 - 0.12).clamp(0, 1)
    ink = torch.minimum(ink, 0.75 + 0.25 * spread(layers.cover, 1))  # what is behind is drawn with a lighter hand
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
