"""`python -m model.generate`, as a user runs it."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from model.generate import app
from model.video_io import read_mp4


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


@pytest.mark.parametrize(("arguments", "message"), [
    (("--size", "64"), "size must be WIDTHxHEIGHT"),
    (("--size", "16x16"), "height must be even and at least 32"),
    (("--num-frames", "0"), "num_frames must be at least 1"),
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
