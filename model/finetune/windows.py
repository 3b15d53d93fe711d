"""Windows of a video as training clips: so many frames at a steady rate, from anywhere in it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import av
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from model.finetune.videos import CaptionedVideo, DataError
from model.video_reader import upright

READABLE = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif",
    "protocol_whitelist": "pipe",
}
TOLERANCE = 1e-3
"""Seconds by which timestamps are off in files of common time bases."""

HOLD = 0.25
"""Seconds for which a last frame may stand: headers often promise a little more than there is."""


class Extent(NamedTuple):
    """height, width: pixels as shown, after rotation."""

    height: int
    width: int
    seconds: float


@contextmanager
def opened(video: CaptionedVideo) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Raises DataError naming the video, for whatever goes wrong with it."""
    try:
        with video.open() as file, av.open(file, "r", options=READABLE) as container:
            if not container.streams.video:
                raise DataError(f"{video.name} has no video stream")
            yield container, container.streams.video[0]
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{video.name} cannot be read: {error}") from error


def timed(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[tuple[float, av.VideoFrame]]:
    """(seconds on the file's clock, frame)."""
    for frame in container.decode(stream):
        if frame.time is not None:
            yield frame.time, frame


def pixel_aspect(stream: av.VideoStream) -> float:
    return float(stream.sample_aspect_ratio or 1)


def measure(video: CaptionedVideo) -> Extent:
    """Size from the first frame; duration from the header, or by decoding where the header does not say."""
    with opened(video) as (container, stream):
        first = next(timed(container, stream), None)
        if first is None:
            raise DataError(f"{video.name} holds no frames")
        height, width = upright(first[1], 1 << 16, pixel_aspect(stream), None).shape[:2]
        if stream.duration is not None and stream.time_base is not None:
            return Extent(height, width, float(stream.duration * stream.time_base))
        if container.duration is not None:
            return Extent(height, width, container.duration / av.time_base)
        *_, last = first[0], *(seconds for seconds, _ in timed(container, stream))
        return Extent(height, width, last - first[0] + 1 / float(stream.average_rate or 25))


def has_room(extent: Extent, frames: int, fps: float) -> bool:
    return extent.seconds * fps > frames - 0.5


def read_window(
    video: CaptionedVideo, extent: Extent, start: float, frames: int, fps: float, size: tuple[int, int]
) -> Tensor:
    """uint8 (3, frames, h, w), filling `size` (h, w) and cut at its middle. Frame i is what is shown i / fps after the
    window's begin.

    start: 0 to 1, of the first window that fits to the last. Raises DataError if the video ends too early.
    """
    begin = start * max(0.0, extent.seconds - frames / fps)
    pixels = [shrunk_to(frame, size, aspect) for frame, aspect in shown(video, begin, frames, fps)]
    return fill(rearrange(np.stack(pixels), "t h w c -> t c h w"), size)


def shown(video: CaptionedVideo, begin: float, frames: int, fps: float) -> Iterator[tuple[av.VideoFrame, float]]:
    """(frame, its pixels' aspect) at begin, begin + 1 / fps, ..., where a frame is shown until the next."""
    with opened(video) as (container, stream):
        origin = float((stream.start_time or 0) * (stream.time_base or 0))
        aspect = pixel_aspect(stream)
        if begin > 0:
            container.seek(int((begin + origin) * av.time_base))
        latest: av.VideoFrame | None = None
        made, last = 0, -math.inf
        for seconds, frame in timed(container, stream):
            last = seconds - origin
            while latest is not None and made < frames and begin + made / fps < last - TOLERANCE:
                made += 1
                yield latest, aspect
            latest = frame
            if made == frames:
                return
        until = last + 1 / float(stream.average_rate or fps) + HOLD
        while latest is not None and made < frames and begin + made / fps < until:
            made += 1
            yield latest, aspect
        if made < frames:
            raise DataError(f"{video.name} ends after {made} of the {frames} frames from {begin:.2f} s on")


def shrunk_to(frame: av.VideoFrame, size: tuple[int, int], aspect: float) -> NDArray[np.uint8]:
    """RGB, upright, no larger than needed to fill `size`: memory for 80 frames is counted in the small."""
    height, width = float(frame.height), frame.width * aspect
    if round((frame.rotation or 0) / 90) % 2:
        height, width = width, height
    scale = max(size[0] / height, size[1] / width)
    return upright(frame, math.ceil(max(height, width) * min(1.0, scale) + 1), aspect, None)


def fill(frames: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """(t, 3, h, w) -> (3, t, *size): scaled to cover, then cut at the middle."""
    clip = torch.from_numpy(frames)
    height, width = clip.shape[-2:]
    scale = max(size[0] / height, size[1] / width)
    covering = [max(want, round(have * scale)) for want, have in zip(size, (height, width), strict=True)]
    if covering != [height, width]:
        scaled = F.interpolate(clip.float(), size=covering, mode="bicubic", antialias=True)
        clip = scaled.round().clamp(0, 255).to(torch.uint8)
    top, left = ((have - want) // 2 for have, want in zip(covering, size, strict=True))
    return rearrange(clip[..., top : top + size[0], left : left + size[1]], "t c h w -> c t h w").contiguous()
