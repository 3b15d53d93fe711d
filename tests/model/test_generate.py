"""`python -m model.generate`, as a user runs it."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from model.generate import app
from model.video_io import read_mp4, write_mp4


def test_a_prompt_becomes_an_mp4(tiny_folder, tmp_path):
    output = tmp_path / "out.mp4"
    options = {"model": tiny_folder, "num-frames": 6, "fps": 12, "size": "64x32", "seed": 5, "num-inference-steps": 2}
    flags = [str(word) for name, value in options.items() for word in (f"--{name}", value)]

    done = subprocess.run(
        [sys.executable, "-m", "model.generate", *flags, "--output", output, "--", "a red ball"],
        capture_output=True,
        text=True,
        timeout=170,
    )

    assert done.returncode == 0, done.stderr
    frames, fps = read_mp4(output)
    assert frames.shape == (6, 32, 64, 3)
    assert fps == 12
    assert "seed 5" in done.stderr


@pytest.fixture
def media(tmp_path):
    """photo.png, mask.png (right half white), film.mp4 (ten frames)."""
    folder = tmp_path / "media"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    Image.fromarray(np.repeat([[0, 255]], 16, axis=1).repeat(32, axis=0).astype(np.uint8)).save(folder / "mask.png")
    write_mp4(np.full((10, 32, 32, 3), 120, np.uint8), folder / "film.mp4", 8)
    return folder


@pytest.mark.parametrize(("words", "frames"), [
    ("image-to-video --image {0}/photo.png --keyframe -1={0}/photo.png", 6),
    ("image-to-video --keyframe 0.25s={0}/photo.png", 6),
    ("inpaint --video {0}/film.mp4 --mask {0}/mask.png --box 0,0,0.5,0.5,0.2,0.5 --feather 0.1", 6),
    ("inpaint --video {0}/film.mp4 --expand 0.25,0,0.25,0 --num-frames 80", 10),
    ("cinemagraph --image {0}/photo.png --box 0.25,0.25,0.5,0.5 --loop --resize contain", 6),
    ("stylize --video {0}/film.mp4 --strength 0.5", 6),
    ("text-to-video --guidance-rescale 0.7 --guidance-interval 0,0.5 --scheduler FlowMatchHeunDiscreteScheduler", 6),
])  # fmt: skip
def test_every_task_takes_its_files(tiny_folder, tmp_path, media, words, frames):
    output = tmp_path / "out.mp4"
    task, *flags = words.format(media).split()
    shared = ["--num-frames", "6", "--fps", "8", "--size", "32x32", "--steps", "2", "--output", str(output)]

    done = CliRunner().invoke(
        app, [*shared, *flags, "--", task, "a red ball"], env={"LUMIERE_MODEL_DIRS": str(tiny_folder)}
    )

    assert done.exit_code == 0, done.stderr
    assert read_mp4(output)[0].shape == (frames, 32, 32, 3)


@pytest.mark.parametrize(("words", "message"), [
    ("image-to-video", "image is missing"),
    ("inpaint", "video is missing"),
    ("inpaint --video {0}/film.mp4", "mask must leave something"),
    ("cinemagraph", "image is missing"),
    ("stylize", "video is missing"),
    ("stylize --style oil", "style must be one of"),
    ("image-to-video --keyframe end.png", "keyframe must be FRAME=PATH"),
    ("image-to-video --keyframe 1.2.3s=end.png", "keyframe must be FRAME=PATH or SECONDSs=PATH"),
    ("image-to-video --keyframe 0.8s={0}/photo.png --fps 8 --num-frames 6", "keyframes.0.frame must be below"),
    ("inpaint --video {0}/film.mp4 --box 1,2", "box must be 4 or 6 numbers"),
    ("inpaint --video {0}/photo.png --box 0,0,1,1", "photo.png"),
    ("image-to-video --image {0}/none.png", "none.png"),
])  # fmt: skip
def test_what_is_missing_is_named(tiny_folder, tmp_path, media, words, message):
    task, *flags = words.format(media).split()

    done = CliRunner().invoke(
        app,
        ["--output", str(tmp_path / "out.mp4"), "--size", "32x32", *flags, "--", task, "a red ball"],
        env={"LUMIERE_MODEL_DIRS": str(tiny_folder)},
    )

    assert done.exit_code == 1
    assert message in done.stderr
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (("--size", "64"), "size must be WIDTHxHEIGHT"),
    (("--size", "16x16"), "height must be even and at least 32"),
    (("--num-frames", "0"), "num_frames must be at least 1"),
    (("--guidance-rescale", "2"), "guidance_rescale must be 0 to 1"),
    (("--guidance-interval", "0.5"), "guidance_interval must be 2 numbers"),
    (("--guidance-interval", "1,0"), "guidance_interval must be two ascending numbers"),
    (("--model", "nothing"), "model must be a folder or one of lumiere-tiny"),
    (("--output", "/no/such/folder/x.mp4"), "output: /no/such/folder is not a folder"),
])  # fmt: skip
def test_errors_are_one_line(tiny_folder, tmp_path, arguments, message):
    output = tmp_path / "out.mp4"

    done = CliRunner().invoke(
        app,
        ["--output", str(output), *arguments, "--", "a red ball"],
        env={"LUMIERE_MODEL_DIRS": str(tiny_folder)},
    )

    assert done.exit_code == 1
    assert f"error: {message}" in done.stderr
    assert list(tmp_path.iterdir()) == []
