"""How near an H.264 file in 4:2:0 can come to a frame, whatever the encoder does, and how near ours comes.

    python benchmarks/chroma.py                       # 32 scenes of the world that no training saw, as they are drawn
    python benchmarks/chroma.py --given 128           # drawn at 128 pixels and enlarged, as a picture that is given
    python benchmarks/chroma.py --images a.png b.png  # pictures; odd sides are cropped

With a luma for each pixel, what is lost of a colour is its part across grey that lies beyond the colours which the
decoder spreads over the pixels: its distance from that space, by least squares, is the bound, but for colours that the
decoder has to clip. Decoders repeat the colour of a block of 2x2 pixels (swscale, and with it ffmpeg, PyAV and OpenCV)
or interpolate it (many players). Prints a table and, as the last line, one JSON object.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image

from model.conditioning import place, placement
from model.training.scenes.attributes import sample_scenes
from model.training.scenes.render import frame_times, render
from model.video_io import Chroma, read_mp4, write_mp4

ACROSS_GREY = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
"""An orthonormal basis of what luma cannot change."""
Array = NDArray[np.floating]


def scenes(count: int, size: int) -> list[NDArray[np.uint8]]:
    drawn = sample_scenes(count, torch.Generator().manual_seed(11), split="held-out")
    frames = rearrange(render(drawn, frame_times(1, start=2.0), size), "n c 1 h w -> n h w c")
    return list(((frames + 1) * 127.5).round().clamp(0, 255).byte().numpy())


def enlarged(scene: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return place(scene[None], placement(scene.shape[:2], (size, size)))[0]


def decibels(square_error: float) -> float:
    return 99.0 if square_error == 0 else float(10 * np.log10(255**2 / square_error))


def repeating(side: int) -> Array:
    """(side, side / 2): colours of blocks to those of pixels."""
    return np.repeat(np.eye(side // 2), 2, axis=0)


def interpolating(side: int, first: float) -> Array:
    """The same by linear interpolation; the first colour lies at `first` pixels."""
    at = ((np.arange(side) - first) / 2).clip(0, side // 2 - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side // 2)))


def bound(frame: NDArray[np.uint8], rows: Array, columns: Array) -> float:
    """Decibels that no colours in 4:2:0 exceed where the decoder spreads them by these matrices."""
    colours = np.einsum("hwc,kc->khw", frame.astype(float), ACROSS_GREY)
    nearest = (rows @ np.linalg.pinv(rows)) @ colours @ (columns @ np.linalg.pinv(columns)).T
    return decibels(float(np.square(colours - nearest).sum() / frame.size))


def written(frame: NDArray[np.uint8], chroma: Chroma) -> float:
    """Decibels of the first of 16 frames, at the quality that files have."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "still.mp4"
        write_mp4(np.repeat(frame[None], 16, axis=0), path, 16, chroma=chroma)
        decoded = read_mp4(path)[0][0]
    return decibels(float(np.square(decoded.astype(float) - frame).mean()))


def measure(frame: NDArray[np.uint8]) -> dict[str, float]:
    height, width = frame.shape[:2]
    return {
        "bound, colours repeated": bound(frame, repeating(height), repeating(width)),
        "bound, colours interpolated": bound(frame, interpolating(height, 0.5), interpolating(width, 0.0)),
        "file in 4:2:0": written(frame, "4:2:0"),
        "file in 4:4:4": written(frame, "4:4:4"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=Path, nargs="+", help="instead of scenes")
    parser.add_argument("--count", type=int, default=32, help="scenes")
    parser.add_argument("--size", type=int, default=256, help="pixels of a frame")
    parser.add_argument("--given", type=int, help="pixels at which a scene is drawn; those of the frame if not given")
    arguments = parser.parse_args()
    if arguments.images:
        opened = [np.asarray(Image.open(path).convert("RGB")) for path in arguments.images]
        frames = [frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2] for frame in opened]
    else:
        drawn = scenes(arguments.count, arguments.given or arguments.size)
        frames = [enlarged(scene, arguments.size) for scene in drawn]
    each = [measure(frame) for frame in frames]
    result: dict[str, Any] = {}
    print(f"{'RGB PSNR, dB':28} {'median':>7} {'worst':>7} {'best':>7} {'>= 40 dB':>9}")
    for name in each[0]:
        values = np.array([one[name] for one in each])
        row = (float(np.median(values)), float(values.min()), float(values.max()))
        share = float((values >= 40).mean())
        print(f"{name:28} {row[0]:7.1f} {row[1]:7.1f} {row[2]:7.1f} {share:9.0%}")
        result[name] = {"median": row[0], "worst": row[1], "best": row[2], "share_of_40_db": share}
    print(json.dumps({"frames": len(frames), "decibels": result}))


if __name__ == "__main__":
    main()
