import os
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image

from model.conditioning import place, placement
from model.training.assemble import CARD
from model.training.scenes.attributes import sample_scenes
from model.training.scenes.render import frame_times, render
from model.video_io import contact_sheet, exact_fps, read_mp4, write_mp4


def gradient_clip(frames: int = 9, height: int = 32, width: int = 48) -> np.ndarray:
    """Smooth colours that move: what H.264 keeps nearly as it is."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    return np.stack([x * 255 // width, y * 255 // height, 128 + 100 * np.sin((t + x / 8) / 3)], -1).astype(np.uint8)


def rolling_waves(frames: int, height: int, width: int) -> np.ndarray:
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    red, green = 127 + 100 * np.sin((x + 3 * t) / 9), 127 + 100 * np.cos((y + 2 * t) / 7)
    return np.stack([red, green, (x + y + 4 * t) % 256], -1).astype(np.uint8)


def test_a_written_clip_is_read_back(tmp_path):
    frames = gradient_clip()

    write_mp4(frames, tmp_path / "clip.mp4", 16)
    read, fps = read_mp4(tmp_path / "clip.mp4")

    assert fps == 16
    assert read.shape == frames.shape
    assert np.abs(read.astype(int) - frames).mean() < 3.5  # 2.6 of it by halving the chroma


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)])
def test_colours_survive(tmp_path, colour):
    frames = np.broadcast_to(np.array(colour, np.uint8), (3, 16, 16, 3))

    write_mp4(frames, tmp_path / "clip.mp4", 16)

    assert np.abs(read_mp4(tmp_path / "clip.mp4")[0].astype(int) - colour).max() <= 3


def test_the_file_is_what_browsers_play(tmp_path):
    write_mp4(gradient_clip(20), tmp_path / "clip.mp4", Fraction(24000, 1001))

    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert stream.frames == 20
        assert stream.average_rate == Fraction(24000, 1001)
        assert float(stream.duration * stream.time_base) == pytest.approx(20 * 1001 / 24000, abs=1e-3)
    content = (tmp_path / "clip.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(("height", "width"), [(32, 48), (64, 64), (128, 112), (48, 336)])
def test_the_same_frames_give_the_same_bytes(tmp_path, height, width):
    """Of all sizes: x264's way for AVX-512 read memory of others where rows are not a multiple of 128 pixels."""
    files = [tmp_path / str(index) for index in range(8)]
    for index, file in enumerate(files):
        left_behind = [np.full(size, 16 * index, np.uint8) for size in range(1000, 100_000, 1000)]
        del left_behind
        write_mp4(rolling_waves(16, height, width), file, 16)

    assert len({file.read_bytes() for file in files}) == 1


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    """The disk fails while the new file is made safe: readers still find the old one."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_mp4(gradient_clip(), path, 16)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (np.zeros((0, 16, 16, 3), np.uint8), 16, "frames must be uint8"),
        (np.zeros((2, 16, 16, 4), np.uint8), 16, "frames must be uint8"),
        (np.zeros((2, 16, 16, 3), np.float32), 16, "frames must be uint8"),
        (np.zeros((2, 15, 16, 3), np.uint8), 16, "must be even"),
        (np.zeros((2, 16, 16, 3), np.uint8), 0, "fps must be"),
        (np.zeros((2, 16, 16, 3), np.uint8), float("nan"), "fps must be"),
    ],
)
def test_what_cannot_be_written(tmp_path, frames, fps, message):
    with pytest.raises(ValueError, match=message):
        write_mp4(frames, tmp_path / "clip.mp4", fps)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a video", b"ffconcat version 1.0\nfile 'other.mp4'\n"])
def test_what_cannot_be_read(tmp_path, content):
    write_mp4(gradient_clip(), tmp_path / "other.mp4", 16)
    (tmp_path / "clip.mp4").write_bytes(content)

    with pytest.raises(ValueError, match=r"clip\.mp4"):
        read_mp4(tmp_path / "clip.mp4")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_mp4(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("fps", "exact"), [(16, Fraction(16)), (12.5, Fraction(25, 2)), (29.97002997, Fraction(30000, 1001))]
)
def test_rates_are_exact(fps, exact):
    assert exact_fps(fps) == exact


def test_contact_sheet_reads_row_by_row():
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)

    sheet = np.asarray(contact_sheet(frames, columns=3))

    assert sheet.shape == (8, 18, 3)
    assert sheet[0, ::6, 0].tolist() == [0, 1, 2]
    assert sheet[4, ::6, 0].tolist() == [3, 4, 255]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(float) - other).mean()))


def hard_edges(frames: int = 12, size: int = 128) -> np.ndarray:
    """Saturated shapes on a smooth ground, on the right half in motion: the worst for colours of 2x2 pixels."""
    y, x = np.mgrid[:size, :size]
    clip = np.empty((frames, size, size, 3), np.uint8)
    for t in range(frames):
        clip[t] = np.stack([x, y, 255 - x], -1) // 2 + 60
        clip[t][(x - 33) ** 2 + (y - 60) ** 2 < 400] = (220, 20, 30)
        clip[t][(x - 90) ** 2 + (y - 40 - 3 * t) ** 2 < 300] = (20, 60, 230)
    return clip


def test_the_first_frame_is_kept_to_40_db_with_a_colour_for_each_pixel(tmp_path):
    frames = hard_edges()

    write_mp4(frames, tmp_path / "full.mp4", 16, chroma="4:4:4")
    write_mp4(frames, tmp_path / "half.mp4", 16)

    full, half = (read_mp4(tmp_path / name)[0] for name in ("full.mp4", "half.mp4"))
    assert psnr(full[0], frames[0]) >= 42
    assert psnr(half[0], frames[0]) >= 31  # all that 4:2:0 can keep of such edges
    luma = np.array([0.2126, 0.7152, 0.0722])
    assert psnr(half[0] @ luma, frames[0] @ luma) >= 40


def world_picture(size: int) -> np.ndarray:
    scenes = sample_scenes(1, torch.Generator().manual_seed(5), split="held-out")
    picture = rearrange(render(scenes, frame_times(1, start=2.0), size)[0, :, 0], "c h w -> h w c")
    return ((picture + 1) * 127.5).round().clamp(0, 255).byte().numpy()


@pytest.mark.parametrize("given", [32, 64])
def test_a_picture_is_kept_to_40_db_for_a_stranger_at_the_default_size(tmp_path, given):
    """As PyAV reads the file when nothing is said about colours; the frames after it are others."""
    width, height = map(int, CARD["defaults"]["size"].split("x"))
    picture = world_picture(given)
    first = place(picture[None], placement((given, given), (height, width)))
    write_mp4(np.concatenate([first, hard_edges(3, height)]), tmp_path / "clip.mp4", 16)

    with av.open(str(tmp_path / "clip.mp4")) as container:
        decoded = next(container.decode(video=0)).to_ndarray(format="rgb24")

    assert psnr(decoded, np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))) >= 40


def test_the_first_frame_is_finer_than_the_others(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    still = np.repeat(np.asarray(Image.fromarray(noise).resize((128, 128)))[None], 3, axis=0)
    cut = np.concatenate([still, still[:, ::-1]])  # a second scene, as hard to keep

    write_mp4(cut, tmp_path / "clip.mp4", 16)

    decoded = read_mp4(tmp_path / "clip.mp4")[0]
    assert psnr(decoded[0], cut[0]) > psnr(decoded[3], cut[3]) + 0.2


def test_what_stands_still_stands_still_in_the_file(tmp_path):
    """Of a cinemagraph: every decoded frame against the first one."""
    write_mp4(hard_edges(40), tmp_path / "clip.mp4", 16)

    still = read_mp4(tmp_path / "clip.mp4")[0][:, :, :56].astype(float)

    assert np.square(still - still[0]).mean((1, 2, 3)).max() <= 255**2 / 10**4.5  # 45 dB


def test_a_video_that_was_decoded_is_kept_to_42_db(tmp_path):
    """Outside of the hole of an inpainted video, whose source was 4:2:0 already."""
    write_mp4(hard_edges(), tmp_path / "source.mp4", 16, crf=18)
    source, _ = read_mp4(tmp_path / "source.mp4")

    write_mp4(source, tmp_path / "again.mp4", 16)

    again, _ = read_mp4(tmp_path / "again.mp4")
    assert min(psnr(one, other) for one, other in zip(again, source, strict=True)) >= 42
