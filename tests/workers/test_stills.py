"""Thumbnail, sheet and preview show the frames that they stand for."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from workers.stills import preview, write_spritesheet, write_thumbnail


def clip(frames: int, height: int = 36, width: int = 64) -> np.ndarray:
    """Frame n is plain, of brightness 3 n."""
    return np.stack([np.full((height, width, 3), 3 * number, np.uint8) for number in range(frames)])


def test_the_thumbnail_is_the_frame_in_the_middle(tmp_path: Path) -> None:
    picture = Image.open(write_thumbnail(clip(80), tmp_path / "t.webp"))

    assert (picture.format, picture.size) == ("WEBP", (64, 36))
    assert abs(picture.convert("L").getpixel((5, 5)) - 120) <= 2  # type: ignore[operator]


def test_a_large_thumbnail_is_made_smaller(tmp_path: Path) -> None:
    assert Image.open(write_thumbnail(clip(3, 512, 1024), tmp_path / "t.webp")).size == (512, 256)


def test_the_sheet_runs_from_the_first_frame_to_the_last(tmp_path: Path) -> None:
    sheet = Image.open(write_spritesheet(clip(80), tmp_path / "s.jpg"))

    assert (sheet.format, sheet.size) == ("JPEG", (4 * 64, 4 * 36))
    levels = [sheet.convert("L").getpixel((32 + 64 * (n % 4), 18 + 36 * (n // 4))) for n in range(16)]
    assert levels == sorted(levels)
    assert abs(levels[0]) <= 3 and abs(levels[15] - 237) <= 3


def test_short_clips_have_small_sheets(tmp_path: Path) -> None:
    assert Image.open(write_spritesheet(clip(1), tmp_path / "s.jpg")).size == (64, 36)
    assert Image.open(write_spritesheet(clip(5), tmp_path / "s.jpg")).size == (4 * 64, 2 * 36)


def test_a_preview_is_small_and_moves() -> None:
    content = preview(clip(80, 128, 128))
    picture = Image.open(io.BytesIO(content))

    assert (picture.format, picture.size, getattr(picture, "n_frames", 1)) == ("WEBP", (96, 96), 8)
    assert len(content) < 10_000
