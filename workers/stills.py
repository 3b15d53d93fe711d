"""Small pictures of a clip: a thumbnail, a sheet of frames, and previews while it is being made."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]
"""(t, h, w, 3), RGB"""

THUMBNAIL_SIDE = 512
SHEET_COLUMNS, SHEET_ROWS = 4, 4
SHEET_FRAME_SIDE = 320
PREVIEW_FRAMES = 8
PREVIEW_SIDE = 96
PREVIEW_FRAME_MS = 125
QUALITY = 80


def write_thumbnail(frames: Frames, path: Path) -> Path:
    """The frame in the middle as WebP, THUMBNAIL_SIDE pixels at most along its long side."""
    shrunk(frames[len(frames) // 2], THUMBNAIL_SIDE).save(path, "WEBP", quality=QUALITY)
    return path


def write_spritesheet(frames: Frames, path: Path) -> Path:
    """Frames evenly spaced over the clip, row by row, as JPEG; the first and the last frame are among them."""
    picks = [shrunk(frame, SHEET_FRAME_SIDE) for frame in spaced(frames, SHEET_COLUMNS * SHEET_ROWS)]
    width, height = picks[0].size
    columns = min(SHEET_COLUMNS, len(picks))
    sheet = Image.new("RGB", (columns * width, -(-len(picks) // columns) * height))
    for number, picture in enumerate(picks):
        sheet.paste(picture, (number % columns * width, number // columns * height))
    sheet.save(path, "JPEG", quality=QUALITY)
    return path


def preview(frames: Frames) -> bytes:
    """A short animated WebP of a few kilobytes."""
    first, *others = [shrunk(frame, PREVIEW_SIDE) for frame in spaced(frames, PREVIEW_FRAMES)]
    file = io.BytesIO()
    first.save(
        file,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=PREVIEW_FRAME_MS,
        loop=0,
        quality=50,
        method=0,
    )
    return file.getvalue()


def spaced(frames: Frames, count: int) -> Frames:
    """`count` frames evenly spaced from the first to the last, all of them when there are no more."""
    if len(frames) <= count:
        return frames
    picks: Frames = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
    return picks


def shrunk(frame: NDArray[np.uint8], side: int) -> Image.Image:
    picture = Image.fromarray(frame)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
