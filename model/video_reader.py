"""Videos as people have them, read into arrays: any frame rate, rotation and colour space, within limits."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from model.video_io import Frames

READABLE = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif",
    "protocol_whitelist": "file",
    "max_streams": "16",
}
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "prores", "mjpeg", "gif")
"""What cameras, phones and editors write; FFmpeg's hundreds of other decoders are never begun."""


@dataclass(frozen=True)
class VideoLimits:
    """What is read at most. pixels: of one frame of the file. decoded_frames: how far into the file is looked.

    longest_side: larger frames are shrunk to it while they are read, which bounds memory.
    """

    pixels: int = 4096 * 2304
    decoded_frames: int = 20_000
    longest_side: int = 1280


def read_video(
    path: str | os.PathLike[str], fps: float | Fraction, num_frames: int, limits: VideoLimits = VideoLimits()
) -> Frames:
    """The first `num_frames` frames at a steady `fps` as uint8 RGB (t, h, w, 3), upright and with square pixels; fewer
    if the video is shorter. Frame i is what is shown at i / fps seconds.

    Raises ValueError for a file that is no readable video or is beyond the limits, FileNotFoundError when there is
    none.
    """
    name = os.path.basename(os.fspath(path))
    try:
        with av.open(os.fspath(path), options=READABLE) as container:
            if not container.streams.video:
                raise ValueError(f"{name} has no video stream")
            stream = container.streams.video[0]
            codec = getattr(stream, "codec", None)  # none that FFmpeg knows
            if codec is None or codec.canonical_name not in CODECS:
                raise ValueError(f"{name} must hold a video in one of these codecs: {', '.join(CODECS)}")
            size = stream.codec_context.width * stream.codec_context.height
            if size > limits.pixels:
                shape = f"{stream.codec_context.width}x{stream.codec_context.height}"
                raise ValueError(f"{name} must have at most {limits.pixels} pixels per frame, got {shape}")
            stream.codec_context.options = {"max_pixels": str(limits.pixels)}
            stream.thread_type = "AUTO"
            timed = decoded(container, stream, limits.decoded_frames, name)
            aspect = float(stream.sample_aspect_ratio or 1)
            frames = list(steady(timed, fps, num_frames, limits.longest_side, aspect))
    except FileNotFoundError:
        raise
    except (av.FFmpegError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, av.FFmpegError) else error  # the rest of it is the path
        raise ValueError(f"{name} is not a readable MP4, WebM or GIF video: {reason}") from error
    if not frames:
        raise ValueError(f"{name} holds no frames")
    return np.stack(frames)


def read_video_mask(
    path: str | os.PathLike[str], fps: float | Fraction, num_frames: int, limits: VideoLimits = VideoLimits()
) -> NDArray[np.bool_]:
    """(t, h, w): where a black-and-white video is white, or at least brighter than middle grey."""
    return read_video(path, fps, num_frames, limits).mean(-1) >= 128


def decoded(
    container: av.container.InputContainer, stream: av.VideoStream, limit: int, name: str
) -> Iterator[tuple[float, av.VideoFrame]]:
    """(seconds since the first frame, frame) in order of time."""
    first: float | None = None
    step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
    for index, frame in enumerate(container.decode(stream)):
        if index >= limit:
            raise ValueError(f"{name} must have at most {limit} frames before the end of what is used")
        seconds = index * step if frame.pts is None else frame.time
        first = seconds if first is None else first
        yield seconds - first, frame


def steady(
    timed: Iterator[tuple[float, av.VideoFrame]],
    fps: float | Fraction,
    num_frames: int,
    longest_side: int,
    aspect: float,
) -> Iterator[NDArray[np.uint8]]:
    """The frame shown at each i / fps. The last one is shown for as long as it says, at least as the one before."""
    made = 0
    shown: tuple[float, av.VideoFrame] | None = None
    length = 0.0
    size: tuple[int, int] | None = None

    def until(end: float) -> Iterator[NDArray[np.uint8]]:
        nonlocal made, size
        if shown is None or made >= num_frames or made / fps >= end - 1e-4:
            return
        pixels = upright(shown[1], longest_side, aspect, size)
        size = size or pixels.shape[:2]
        while made < num_frames and made / fps < end - 1e-4:
            made += 1
            yield pixels

    for seconds, frame in timed:
        if shown is not None:
            length = max(seconds - shown[0], 0.0)
            yield from until(seconds)
        if made >= num_frames:
            return
        shown = (seconds, frame)
    if shown is not None:
        own = float((shown[1].duration or 0) * (shown[1].time_base or 0))
        yield from until(shown[0] + (max(own, length) or 1 / float(fps)))


def upright(frame: av.VideoFrame, longest_side: int, aspect: float, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """RGB pixels, turned as the file says, with square pixels. aspect: width of a pixel in the file. size: (h, w) of
    the frames before, which streams may leave in mid-way.
    """
    turns = round((frame.rotation or 0) / 90) % 4
    if size is None:
        height, width = float(frame.height), frame.width * aspect
        shrink = min(1.0, longest_side / max(height, width))
        height, width = max(1, round(height * shrink)), max(1, round(width * shrink))
    else:
        height, width = size if turns % 2 == 0 else size[::-1]
    pixels = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=colour_space(frame),
        src_color_range=ColorRange.JPEG if frame.color_range == ColorRange.JPEG else ColorRange.MPEG,
    ).to_ndarray()
    return np.rot90(pixels, turns)


def colour_space(frame: av.VideoFrame) -> Colorspace:
    """What the frame is tagged with; without a tag, what players assume."""
    known = {Colorspace.ITU709: Colorspace.ITU709, Colorspace.ITU601: Colorspace.ITU601, 6: Colorspace.ITU601}
    return known.get(frame.colorspace, Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601)
