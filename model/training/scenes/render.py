"""Scenes to frames: background, shadow, subject and style, for many clips and any moments at once.

Legend: n clips, t frames, c channels, h = w = size pixels.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from model.training.scenes.attributes import COLOURS, SETTINGS, STYLES, SUBJECTS, Scenes
from model.training.scenes.backgrounds import GROUND, PAINTERS
from model.training.scenes.motions import Pose, poses
from model.training.scenes.sprites import PHASES, sprite_sheets
from model.training.scenes.styles import STYLISTS, Layers

FRAME_RATE = 16
GLOW = (0.62, 0.66, 0.86)
"""Colour of the haze behind a subject at night."""
BEATS_PER_SECOND = 1.5
"""How often a wing, leg or wheel goes through its sheet of phases."""


def frame_times(num_frames: int, stride: int = 1, start: float = 0.0) -> Tensor:
    """Seconds of every `stride`-th frame of a clip at FRAME_RATE, shape (num_frames,)."""
    return start + torch.arange(num_frames) * (stride / FRAME_RATE)


def render(scenes: Scenes, times: Tensor, size: int = 64) -> Tensor:
    """Frames (n, 3, t, size, size) in [-1, 1] at `times` in seconds, of shape (t,) or (n, t)."""
    return render_with_cover(scenes, times, size)[0]


def render_with_cover(scenes: Scenes, times: Tensor, size: int = 64) -> tuple[Tensor, Tensor]:
    """`render`, and where the subject is: coverage (n, 1, t, size, size) in [0, 1]."""
    device = scenes.jitter.device
    times = times.to(device).expand(len(scenes), -1) if times.ndim == 1 else times.to(device)
    pose = poses(scenes, times)
    subject, cover = draw_subjects(scenes, pose, times, size)
    background = cast_shadow(scenes, pose, draw_settings(scenes, times, size))
    background = cast_glow(scenes, pose, background)
    frames = torch.empty_like(background)
    for i, name in enumerate(STYLES):
        chosen = (scenes.style == i).nonzero().squeeze(1)
        if len(chosen):
            layers = Layers(background[chosen], subject[chosen], cover[chosen], times[chosen], scenes.jitter[chosen])
            frames[chosen] = STYLISTS[name](layers)
    return rearrange(frames.clamp(0, 1), "n t c h w -> n c t h w") * 2 - 1, rearrange(cover, "n t c h w -> n c t h w")


def draw_settings(scenes: Scenes, times: Tensor, size: int) -> Tensor:
    """Backgrounds (n, t, 3, size, size) in [0, 1]."""
    video = torch.empty(*times.shape, 3, size, size, device=times.device)
    for i, name in enumerate(SETTINGS):
        chosen = (scenes.setting == i).nonzero().squeeze(1)
        if len(chosen):
            video[chosen] = PAINTERS[name](scenes.jitter[chosen], times[chosen], size)
    return video


def draw_subjects(scenes: Scenes, pose: Pose, times: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Premultiplied subjects (n, t, 3, size, size) and their coverage (n, t, 1, size, size)."""
    n, t = times.shape
    sheets = sprite_sheets(SUBJECTS, size, str(times.device))
    phase = ((times * BEATS_PER_SECOND + scenes.jitter[:, 15:16]) * PHASES).long() % PHASES
    soft = (pose.size < 0.25).long()
    sprite = sheets[scenes.subject[:, None], soft, phase]  # n t 6 h w
    grid = F.affine_grid(_to_sprite(pose), [n * t, 1, size, size], align_corners=False)
    drawn = F.grid_sample(rearrange(sprite, "n t c h w -> (n t) c h w"), grid, align_corners=False)
    fixed, body, light, cover = rearrange(drawn, "(n t) c h w -> n t c h w", n=n).split([3, 1, 1, 1], dim=2)
    palette = torch.tensor(list(COLOURS.values()), device=times.device)
    colour = palette[scenes.colour][:, None, :, None, None]
    rgb = fixed + body * colour
    return rgb + (cover - rgb).clamp(min=0) * light, cover


def cast_shadow(scenes: Scenes, pose: Pose, background: Tensor) -> Tensor:
    """Darkens the ground below the subject, less so the higher it hovers."""
    size = background.shape[-1]
    ground = torch.tensor([GROUND[name] for name in SETTINGS], device=background.device)[scenes.setting][:, None]
    line = (torch.arange(size, device=background.device) + 0.5) / size
    floor = torch.maximum(ground, pose.y + 0.8 * pose.size)
    x = (line - pose.x[..., None]) / (0.85 * pose.size[..., None])
    y = (line - floor[..., None]) / (0.20 * pose.size[..., None])
    height = (floor - pose.y - pose.size).clamp(min=0)
    strength = 0.38 * torch.exp(-3.0 * height) * (ground > 0)
    blot = torch.exp(-(x[..., None, :] ** 2 + y[..., :, None] ** 2)) * strength[..., None, None]
    return background * (1 - blot[:, :, None])


def cast_glow(scenes: Scenes, pose: Pose, background: Tensor) -> Tensor:
    """Lights the night behind the subject, so that dark ones stand out from it."""
    dark = (scenes.setting == SETTINGS.index("night sky"))[:, None, None, None]
    line = (torch.arange(background.shape[-1], device=background.device) + 0.5) / background.shape[-1]
    x = (line - pose.x[..., None]) / pose.size[..., None]
    y = (line - pose.y[..., None]) / pose.size[..., None]
    glow = 0.55 * torch.exp(-0.9 * (x[..., None, :] ** 2 + y[..., :, None] ** 2)) * dark
    return background + glow[:, :, None] * (torch.tensor(GLOW, device=background.device)[:, None, None] - background)


def _to_sprite(pose: Pose) -> Tensor:
    """Affine maps (n*t, 2, 3) from output coordinates in [-1, 1] to sprite coordinates."""
    cos, sin = torch.cos(pose.angle), torch.sin(pose.angle)
    turn = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2) / pose.size[..., None, None]
    centre = torch.stack([0.5 - pose.x, 0.5 - pose.y], -1)[..., None]
    affine = torch.cat([turn / 2, turn @ centre], -1)
    facing = torch.stack([pose.facing, torch.ones_like(pose.facing)], -1)[..., None]
    return rearrange(affine * facing, "n t r c -> (n t) r c")


def contact_row(frames: Tensor, columns: int = 8) -> Tensor:
    """`columns` evenly spaced frames of each clip (n, 3, t, h, w) as one picture (3, n*h, columns*w)."""
    pick = torch.linspace(0, frames.shape[2] - 1, columns).round().long()
    return rearrange(frames[:, :, pick], "n c t h w -> c (n h) (t w)")
