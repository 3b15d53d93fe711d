"""MP4 files: written so that every browser plays them and no reader ever sees half of one, and read back.

H.264 in yuv420p with the index in front; on demand in yuv444p, which keeps all colours and which not all browsers
play. Colours are converted *and* tagged as BT.709: tags alone shift them by up to 40/255, and untagged files are
guessed at by players.
"""

import math
import os
import tempfile
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image

from model.yuv import to_yuv420

Frames = NDArray[np.uint8]
"""RGB frames, (t, h, w, 3)."""

Chroma = Literal["4:2:0", "4:4:4"]
"""Colour for each block of 2x2 pixels, as every player knows it, or for each pixel."""
PIXEL_FORMATS: dict[Chroma, str] = {"4:2:0": "yuv420p", "4:4:4": "yuv444p"}

FIRST_FRAME_FINER = 12
"""Steps of x264's quality by which the first frame is finer: often a given picture, and the poster of the clip."""
FINEST = 1
"""Of x264's qualities; 0 is lossless, another kind of file."""
SAME_ANYWHERE = "cpu-independent=1"
"""The same file on every processor. x264's own choice for AVX-512 makes another file of the same frames each time."""

READABLE = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2", "protocol_whitelist": "file"}


def exact_fps(fps: float | Fraction) -> Fraction:
    """24000/1001 stays what it is; 29.97 means the fraction next to it with a denominator of at most 1001."""
    value = Fraction(fps).limit_denominator(1001) if math.isfinite(fps) else Fraction(0)
    if not 0 < value <= 1000:
        raise ValueError(f"fps must be more than 0 and at most 1000, got {fps}")
    return value


def check_frames(frames: Frames) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or frames.shape[0] < 1:
        raise ValueError(f"frames must be uint8 of shape (t >= 1, h, w, 3), got {frames.dtype} {frames.shape}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"height and width must be even for H.264, got {frames.shape[1]}x{frames.shape[2]}")


def default_crf(height: int, width: int) -> int:
    """x264's quality by size: what is lost is seen most in small frames, and bits cost most in large ones."""
    return next((crf for side, crf in ((256, 10), (512, 14)) if height * width <= side**2), 18)


def write_mp4(
    frames: Frames,
    path: str | os.PathLike[str],
    fps: float | Fraction,
    *,
    crf: float | None = None,
    chroma: Chroma = "4:2:0",
) -> None:
    """Writes uint8 RGB `frames` (t, h, w, 3), even sides, as H.264. `path` appears whole or not at all, also after a
    power cut.

    crf: x264's quality, 0 (lossless) to 51; None goes by the size. Raises ValueError for frames or rates that cannot
        be written, OSError from the disk.
    """
    check_frames(frames)
    rate = exact_fps(fps)
    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".mp4", dir=path.parent)
    os.close(descriptor)
    try:
        encode(frames, temporary, rate, default_crf(*frames.shape[1:3]) if crf is None else crf, chroma)
        os.chmod(temporary, 0o644)
        sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync(path.parent)


def encode(frames: Frames, path: str, rate: Fraction, crf: float, chroma: Chroma) -> None:
    parameters = [SAME_ANYWHERE]
    if crf > FINEST:
        parameters.append(f"zones=0,0,q={max(FINEST, round(crf) - FIRST_FRAME_FINER)}")
    options = {"crf": str(crf), "preset": "medium", "x264-params": ":".join(parameters)}
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = PIXEL_FORMATS[chroma]
        stream.codec_context.time_base = 1 / rate
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.BT709
        stream.codec_context.color_range = ColorRange.MPEG
        for index, pixels in enumerate(frames):
            frame = to_video_frame(pixels, chroma)
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def to_video_frame(pixels: NDArray[np.uint8], chroma: Chroma) -> av.VideoFrame:
    if chroma == "4:4:4":
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        return rgb.reformat(
            format=PIXEL_FORMATS[chroma], dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
    frame = av.VideoFrame.from_ndarray(to_yuv420(pixels), format=PIXEL_FORMATS[chroma])
    frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRange.MPEG
    return frame


def sync(path: str | os.PathLike[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_mp4(path: str | os.PathLike[str]) -> tuple[Frames, Fraction]:
    """All frames of an MP4 as uint8 RGB (t, h, w, 3), and its frame rate. For files of our own: nothing limits size
    or length.

    Raises ValueError when the file is not a readable MP4 with a video stream, FileNotFoundError when there is none.
    """
    try:
        with av.open(os.fspath(path), options=READABLE) as container:
            if not container.streams.video:
                raise ValueError(f"{path} has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            frames = [
                frame.reformat(
                    format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG
                ).to_ndarray()
                for frame in container.decode(stream)
            ]
            rate = stream.average_rate
    except FileNotFoundError:
        raise
    except av.FFmpegError as error:
        raise ValueError(f"{path} is not a readable MP4: {error}") from error
    if not frames or rate is None:
        raise ValueError(f"{path} holds no frames")
    return np.stack(frames), Fraction(rate)


def contact_sheet(frames: Frames, columns: int = 8) -> Image.Image:
    """Frames side by side, row by row, the last row filled up with white."""
    rows = math.ceil(len(frames) / columns)
    sheet = np.full((rows * columns, *frames.shape[1:]), 255, np.uint8)
    sheet[: len(frames)] = frames
    return Image.fromarray(rearrange(sheet, "(r c) h w rgb -> (r h) (c w) rgb", c=columns))
