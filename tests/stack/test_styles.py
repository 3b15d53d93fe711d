"""A style from one picture, from the command line to the pixels: through gateway, storage and a real worker."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.video_io import read_mp4
from tests.stack.live import LiveStack

ARGUMENTS = ("--seed", "3", "--num-frames", "4", "--size", "32x32", "--steps", "2")


@pytest.mark.timeout(400)
def test_a_style_is_learned_used_and_deleted(live_stack: LiveStack, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")

    created = live_stack.run("styles", "create", "confetti", "--image", str(tmp_path / "picture.png"), "--json")
    assert created.returncode == 0, created.stderr + live_stack.logs()
    style = json.loads(created.stdout)
    assert (style["name"], style["status"]) == ("confetti", "completed")
    stored = list((live_stack.folder / "data/styles").rglob("*.safetensors"))
    assert [path.stat().st_size for path in stored] == [style["bytes"]]

    def frames(*options: str) -> np.ndarray:
        video = tmp_path / "video.mp4"
        done = live_stack.run("generate", "a ball", "--output", str(video), *ARGUMENTS, *options)
        assert done.returncode == 0, done.stderr + live_stack.logs()
        return read_mp4(video)[0]

    plain = frames()
    assert not np.array_equal(frames("--style", "confetti"), plain)
    assert np.array_equal(frames("--style", style["id"], "--style-strength", "0"), plain)
    assert "confetti" in live_stack.run("styles", "list").stdout

    assert live_stack.run("styles", "delete", "confetti").returncode == 0
    assert not list((live_stack.folder / "data/styles").rglob("*.safetensors"))
    refused = live_stack.run("generate", "a ball", "--style", "confetti", "--output", str(tmp_path / "no.mp4"))
    assert refused.returncode == 1 and "style" in refused.stderr
