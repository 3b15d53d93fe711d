"""Clips of the world to measure beside the model's, which every figure is read against, and inputs for the tasks."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Generator, Tensor

from model.training.scenes.attributes import Scenes, scenes_from_names
from model.training.scenes.render import draw_settings, frame_times, render, render_with_cover
from model.video_io import Frames

FRAMES = 80
AT_ONCE = 8
"""Clips drawn at a time, which bounds memory."""


def scenes_of(said: Sequence[dict[str, str]], seed: int) -> Scenes:
    """Scenes that show what is said; what is not said, place and pace among it, follows from the seed."""
    return scenes_from_names(list(said), Generator().manual_seed(seed))


def rendered_clips(scenes: Scenes, size: int) -> list[Frames]:
    """80 frames of each scene."""
    clips: list[Frames] = []
    for start in range(0, len(scenes), AT_ONCE):
        clips += to_clips(render(scenes[start : start + AT_ONCE], frame_times(FRAMES), size))
    return clips


def rendered_cover(scenes: Scenes, size: int) -> Tensor:
    """(n, t, size, size) in [0, 1]: where the subjects are."""
    some = (scenes[start : start + AT_ONCE] for start in range(0, len(scenes), AT_ONCE))
    covers = [render_with_cover(each, frame_times(FRAMES), size)[1] for each in some]
    return rearrange(torch.cat(covers), "n 1 t h w -> n t h w")


def empty_settings(scenes: Scenes, size: int) -> list[Frames]:
    """The same settings in the plain style, without their subjects."""
    times = frame_times(FRAMES).expand(len(scenes), -1)
    return to_clips(rearrange(draw_settings(scenes, times, size), "n t c h w -> n c t h w").clamp(0, 1) * 2 - 1)


def to_clips(pixels: Tensor) -> list[Frames]:
    """(n, 3, t, h, w) in [-1, 1] -> uint8 (t, h, w, 3) each."""
    levels = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return list(rearrange(levels, "n c t h w -> n t h w c").numpy())


def to_tensor(clips: Sequence[Frames]) -> Tensor:
    """uint8 (t, h, w, 3) each -> (n, 3, t, h, w) in [-1, 1]."""
    return torch.stack([rearrange(torch.from_numpy(clip), "t h w c -> c t h w") for clip in clips]).float() / 127.5 - 1
