"""Videos of every kind, written by FFmpeg's own encoders."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from model.video_io import write_mp4
from model.video_reader import VideoLimits, read_video, read_video_mask


def flat_frames(levels: list[int], height: int = 32, width: int = 48) -> np.ndarray:
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, height, width, 3), np.uint8)


def write(path, frames, times=None, codec="libx264", pix_fmt="yuv420p", rotation=None, sar=None, tagged=False):
    """times: seconds of each frame; None is 25 per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.time_base = Fraction(1, 1000)
        if sar:
            stream.codec_context.sample_aspect_ratio = sar
        if rotation:
            stream.set_display_rotation(rotation)
        if tagged:
            stream.codec_context.colorspace, stream.codec_context.color_range = 5, 2
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if tagged:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=5, dst_color_range=2)
            frame.pts = round(1000 * (index / 25 if times is None else times[index]))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def greys(frames: np.ndarray) -> list[int]:
    return frames.mean((1, 2, 3)).round().astype(int).tolist()


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp4", "libx264"), ("mov", "libx264"), ("webm", "libvpx-vp9"), ("mkv", "libx264"), ("mp4", "libsvtav1")],
)
def test_containers_and_codecs(tmp_path, suffix, codec):
    path = tmp_path / f"x.{suffix}"
    write(path, flat_frames([10, 60, 120, 180, 240]), codec=codec)

    frames = read_video(path, fps=25, num_frames=10)

    assert frames.shape == (5, 32, 48, 3)
    assert np.abs(np.array(greys(frames)) - [10, 60, 120, 180, 240]).max() <= 3


def test_our_own_videos_come_back_frame_by_frame(tmp_path):
    levels = list(range(0, 240, 12))
    write_mp4(flat_frames(levels), tmp_path / "x.mp4", 16)

    assert np.abs(np.array(greys(read_video(tmp_path / "x.mp4", 16, 80))) - levels).max() <= 3


@pytest.mark.parametrize(
    ("fps", "shown"),
    [(25, [0, 1, 2, 3, 4, 5]), (50, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]), (12.5, [0, 2, 4]), (10, [0, 2, 5])],
)
def test_frame_rates_are_converted(tmp_path, fps, shown):
    write(tmp_path / "x.mp4", flat_frames([20, 60, 100, 140, 180, 220]))

    frames = read_video(tmp_path / "x.mp4", fps, 100)

    assert [round((grey - 20) / 40) for grey in greys(frames)] == shown


def test_frames_are_shown_for_as_long_as_they_were(tmp_path):
    """A recording of a telephone: the rate changes in mid-way, and the first time stamp is not 0."""
    write(tmp_path / "x.mp4", flat_frames([20, 100, 180]), times=[0.5, 0.6, 0.9])

    frames = read_video(tmp_path / "x.mp4", fps=10, num_frames=100)

    assert [round((grey - 20) / 80) for grey in greys(frames)] == [0, 1, 1, 1, 2, 2, 2]


def test_no_more_frames_than_asked_for(tmp_path):
    write(tmp_path / "x.mp4", flat_frames([20] * 30))

    assert len(read_video(tmp_path / "x.mp4", 25, 7)) == 7


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_recordings_stand_upright(tmp_path, rotation):
    picture = np.zeros((4, 32, 48, 3), np.uint8)
    picture[:, :16, :16] = 250
    write(tmp_path / "x.mp4", np.ascontiguousarray(np.rot90(picture, -rotation // 90, axes=(1, 2))), rotation=rotation)

    frames = read_video(tmp_path / "x.mp4", 25, 4)

    assert frames.shape == (4, 32, 48, 3)
    assert frames[0, 4, 4].min() > 200
    assert frames[0, -4, -4].max() < 50


def test_pixels_become_square(tmp_path):
    write(tmp_path / "x.mp4", flat_frames([50, 50]), sar=Fraction(4, 3))

    assert read_video(tmp_path / "x.mp4", 25, 4).shape == (2, 32, 64, 3)


def test_colours_are_read_as_they_are_tagged(tmp_path):
    colour = np.array([200, 60, 30], np.uint8)
    write(tmp_path / "x.mp4", np.broadcast_to(colour, (3, 32, 48, 3)).copy(), tagged=True)

    assert np.abs(read_video(tmp_path / "x.mp4", 25, 3).astype(int) - colour).max() <= 6


def test_large_frames_are_shrunk_on_the_way(tmp_path):
    write(tmp_path / "x.mp4", flat_frames([99], 90, 160))

    assert read_video(tmp_path / "x.mp4", 25, 1, VideoLimits(longest_side=40)).shape == (1, 22, 40, 3)


def test_masks_are_white_where_they_are_bright(tmp_path):
    write(tmp_path / "x.mp4", flat_frames([0, 100, 160, 255]))

    assert read_video_mask(tmp_path / "x.mp4", 25, 4).all((1, 2)).tolist() == [False, False, True, True]


@pytest.mark.parametrize("content", [b"", b"no video", b"ffconcat version 1.0\nfile 'other.mp4'\n"])
def test_files_that_are_no_video(tmp_path, content):
    write(tmp_path / "other.mp4", flat_frames([1, 2]))
    (tmp_path / "x.mp4").write_bytes(content)

    with pytest.raises(ValueError, match=r"^x\.mp4") as refusal:
        read_video(tmp_path / "x.mp4", 16, 80)
    assert str(tmp_path) not in str(refusal.value)


def test_other_codecs_are_refused(tmp_path):
    write(tmp_path / "rare.mkv", flat_frames([1, 2]), codec="ffv1", pix_fmt="yuv444p")
    write(tmp_path / "x.mp4", flat_frames([1, 2]))
    (tmp_path / "unknown.mp4").write_bytes((tmp_path / "x.mp4").read_bytes().replace(b"avc1", b"xxxx"))

    for name in ("rare.mkv", "unknown.mp4"):
        with pytest.raises(ValueError, match=f"^{name} must hold a video in one of these codecs: h264, hevc"):
            read_video(tmp_path / name, 16, 80)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (VideoLimits(pixels=1000), "at most 1000 pixels per frame, got 48x32"),
        (VideoLimits(decoded_frames=3), "3 frames"),
    ],
)
def test_limits(tmp_path, limits, message):
    write(tmp_path / "x.mp4", flat_frames([1] * 8))

    with pytest.raises(ValueError, match=message):
        read_video(tmp_path / "x.mp4", 25, 80, limits)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with pytest.raises(ValueError, match=r"x\.mp4 has no video stream"):
        read_video(tmp_path / "x.mp4", 25, 80)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_video(tmp_path / "x.mp4", 25, 80)


def test_the_last_frame_of_an_animated_gif_is_shown_for_as_long_as_it_says(tmp_path):
    first, last = (Image.fromarray(frame) for frame in flat_frames([40, 200]))
    first.save(tmp_path / "x.gif", save_all=True, append_images=[last], duration=[100, 400])

    assert greys(read_video(tmp_path / "x.gif", fps=10, num_frames=100)) == [40] + [200] * 4
