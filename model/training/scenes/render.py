"""Scenes to frames: background, shadow, subject and style, for many clips and any moments at once.

Legend: n clips, t frames, c channels, h = w = size pixels.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from model.training.scenes.attributes import CAMERAS, COLOURS, SETTINGS, STYLES, SUBJECTS, Scenes
from model.training.scenes.backgrounds import GROUND, PAINTERS
from model.training.scenes.motions import CLIP_SECONDS, Pose, paired_poses, poses
from model.training.scenes.sprites import PHASES, sprite_sheets
from model.training.scenes.styles import STYLISTS, Layers

FRAME_RATE = 16
GLOW = (0.62, 0.66, 0.86)
"""Colour of the haze behind a subject at night."""
CAMERA_MARGIN = 1.25
"""How much larger than its frames a scene is drawn through which a camera moves."""
BEATS_PER_SECOND = 1.5
"""How often a wing, leg or wheel goes through its sheet of phases, from the first on: where legs are is a matter of the
moment, which image layers are told."""


def frame_times(num_frames: int, stride: int = 1, start: float = 0.0) -> Tensor:
    """Seconds of every `stride`-th frame of a clip at FRAME_RATE, shape (num_frames,)."""
    return start + torch.arange(num_frames) * (stride / FRAME_RATE)


def render(scenes: Scenes, times: Tensor, size: int = 64) -> Tensor:
    """Frames (n, 3, t, size, size) in [-1, 1] at `times` in seconds, of shape (t,) or (n, t)."""
    return render_with_cover(scenes, times, size)[0]


def render_with_cover(scenes: Scenes, times: Tensor, size: int = 64) -> tuple[Tensor, Tensor]:
    """`render`, and where subjects are: coverage (n, 1, t, size, size) in [0, 1]."""
    times = times.to(scenes.jitter.device)
    times = times.expand(len(scenes), -1) if times.ndim == 1 else times
    filmed = scenes.camera > 0
    if not filmed.any():
        return draw_scenes(scenes, times, size)
    frames = torch.empty(len(scenes), 3, times.shape[1], size, size, device=times.device)
    cover = torch.empty_like(frames[:, :1])
    for chosen in (filmed.nonzero().squeeze(1), (~filmed).nonzero().squeeze(1)):
        if len(chosen):
            part, when = scenes[chosen], times[chosen]
            drawn = filmed_scenes(part, when, size) if filmed[chosen[0]] else draw_scenes(part, when, size)
            frames[chosen], cover[chosen] = drawn
    return frames, cover


def draw_scenes(scenes: Scenes, times: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Frames (n, 3, t, size, size) in [-1, 1] and coverage (n, 1, t, size, size) before a camera that stands still."""
    background = draw_settings(scenes, times, size)
    subject = torch.zeros_like(background)
    cover = torch.zeros_like(background[:, :, :1])
    for chosen, shown, pose in shown_subjects(scenes, times):
        drawn, covered = draw_subjects(shown, pose, times[chosen], size)
        background[chosen] = cast_glow(shown, pose, cast_shadow(shown, pose, background[chosen]))
        subject[chosen] = subject[chosen] * (1 - covered) + drawn
        cover[chosen] = cover[chosen] * (1 - covered) + covered
    frames = torch.empty_like(background)
    for i, name in enumerate(STYLES):
        chosen = (scenes.style == i).nonzero().squeeze(1)
        if len(chosen):
            layers = Layers(background[chosen], subject[chosen], cover[chosen], times[chosen], scenes.jitter[chosen])
            frames[chosen] = STYLISTS[name](layers)
    return rearrange(frames.clamp(0, 1), "n t c h w -> n c t h w") * 2 - 1, rearrange(cover, "n t c h w -> n c t h w")


def shown_subjects(scenes: Scenes, times: Tensor) -> Iterator[tuple[Tensor, Scenes, Pose]]:
    """Which clips show a subject, those clips as scenes of that subject, and its pose: every first one, then others."""
    everywhere = torch.arange(len(scenes), device=times.device)
    yield everywhere, scenes, poses(scenes, times)
    paired = (scenes.relation > 0).nonzero().squeeze(1)
    if len(paired):
        part = scenes[paired]
        others = replace(part, subject=part.other_subject - 1, colour=part.other_colour - 1)
        yield paired, others, paired_poses(part, times[paired], other=True)


def filmed_scenes(scenes: Scenes, times: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """`draw_scenes` through a camera that moves: drawn larger, and at each moment cut out where the camera looks."""
    frames, cover = draw_scenes(scenes, times, round(size * CAMERA_MARGIN))
    centre_x, half = camera_view(scenes, times)
    centre_y = 0.5 + 0.08 * (1 - half / 0.5)  # closer views look down, where subjects are
    zero = torch.zeros_like(half)
    across = torch.stack([2 * half, zero, 2 * centre_x - 1], -1)
    down = torch.stack([zero, 2 * half, 2 * centre_y - 1], -1)
    affine = rearrange(torch.stack([across, down], -2), "n t r c -> (n t) r c")
    grid = F.affine_grid(affine, [len(affine), 1, size, size], align_corners=False)
    flat = rearrange(torch.cat([frames, cover], 1), "n c t h w -> (n t) c h w")
    seen = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return rearrange(seen, "(n t) c h w -> n c t h w", n=len(scenes)).split([3, 1], dim=1)


def camera_view(scenes: Scenes, times: Tensor) -> tuple[Tensor, Tensor]:
    """Where the camera looks, (n, t) each: the middle from left (0) to right (1), and half the width it sees."""
    done = times / CLIP_SECONDS
    pans = {name: (scenes.camera == CAMERAS.index(name))[:, None] for name in CAMERAS}
    x = torch.where(pans["pan right"], 0.40 + 0.20 * done, torch.full_like(done, 0.5))
    x = torch.where(pans["pan left"], 0.60 - 0.20 * done, x)
    half = torch.where(pans["zoom in"], 0.5 - 0.12 * done, torch.full_like(done, 0.40))
    return x, torch.where(pans["zoom out"], 0.38 + 0.12 * done, half)


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
    phase = (times * BEATS_PER_SECOND * PHASES).long() % PHASES
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
