"""Seams of super-resolution in finished clips, and how sharp it is beside interpolation.

    python benchmarks/seams.py                                   # the shipped model, if it has super-resolution
    python benchmarks/seams.py --frames 320 --prompts 1 --steps 4

Super-resolution works on windows of a few frames. Where one ends and the next begins, neighbouring frames must differ
no more than elsewhere: the mean squared difference of adjacent frames at the borders of windows over the median
elsewhere. "frames" is that of the clip, whose motion goes into it; "added" takes each difference in shares of what the
same clip has there when it is enlarged by interpolation, which leaves only what the windows add. For comparison,
windows that do not overlap and so are not fused. Sharpness: mean absolute Laplacian over that of interpolation. Prints
a table and, as the last line, one JSON object.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.multidiffusion import windows
from model.options import Asked, Options
from model.pipeline import LumierePipeline
from model.super_resolution import Settings
from model.video_io import Frames

SHIPPED = Path(__file__).resolve().parent.parent / "model" / "weights" / "lumiere-mini"
PROMPTS = (
    "a red ball moving right in a meadow",
    "a blue star rising in the desert",
    "a yellow car driving left on a mountain road",
    "a pink heart bouncing on the beach",
)


def borders(num_frames: int, settings: Settings) -> list[int]:
    """t for each step from frame t to t + 1 at which a window begins or has ended."""
    spans = windows(num_frames, settings.window_frames, settings.overlap_frames)
    edges = {span.start for span in spans} | {span.stop for span in spans}
    return sorted(edge - 1 for edge in edges if 0 < edge < num_frames)


def changes(frames: Frames) -> np.ndarray:
    """(t - 1,): mean squared difference of adjacent frames."""
    pairs = zip(frames[1:], frames[:-1], strict=True)
    return np.array([np.square(after.astype(np.float64) - before).mean() for after, before in pairs])


def seam_ratio(steps: np.ndarray, at: list[int]) -> float:
    return float(steps[at].mean() / np.median(np.delete(steps, at)))


def sharpness(frames: Frames) -> float:
    grey = frames.mean(-1)
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return float(np.abs(4 * inner - around).mean())


def measure(pipeline: LumierePipeline, prompt: str, options: Options) -> dict[str, float]:
    """One drawn clip, finished three times: in fused windows, in windows apart, and by interpolation."""
    (drawn,) = pipeline.draw([Asked(prompt, options)])
    told = pipeline.card.get("super_resolution", {})
    settings = Settings(**told)

    def finished(card: dict[str, Any]) -> Frames:
        pipeline.card = {**pipeline.card, "super_resolution": card}
        return pipeline.finish(drawn).frames

    fused = finished(told)
    apart = finished({**told, "overlap_frames": 0})
    pipeline.card = {**pipeline.card, "super_resolution": told}
    network, pipeline.super_resolution = pipeline.super_resolution, None
    interpolated = pipeline.finish(drawn).frames
    pipeline.super_resolution = network
    moved = np.maximum(changes(interpolated), 1e-2)
    ratios = {}
    for name, frames, made_in in (
        ("fused", fused, settings),
        ("apart", apart, replace(settings, overlap_frames=0)),
    ):
        steps, at = changes(frames), borders(options.num_frames, made_in)
        ratios |= {f"{name}_frames": seam_ratio(steps, at), f"{name}_added": seam_ratio(steps / moved, at)}
    return ratios | {
        "sharpness": sharpness(fused) / max(sharpness(interpolated), 1e-6),
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--frames", type=int, help="instead of the model's default")
    parser.add_argument("--steps", type=int, help="of the base model, instead of its default")
    asked = parser.parse_args(words)
    pipeline = LumierePipeline.from_pretrained(asked.model)
    if pipeline.super_resolution is None:
        parser.error(f"{asked.model} has no super-resolution")
    defaults = pipeline.card["defaults"]
    side = pipeline.base_resolution * pipeline.super_resolution.config.scale
    options = Options(
        seed=1,
        num_frames=asked.frames or defaults["num_frames"],
        height=side,
        width=side,
        num_inference_steps=asked.steps,
    )
    rows = []
    print(f"{'':48}{'fused':>16}{'apart':>16}")
    print(f"{'prompt':48}{'frames':>8}{'added':>8}{'frames':>8}{'added':>8}{'sharpness':>11}")
    for prompt in PROMPTS[: asked.prompts]:
        with torch.no_grad():
            row = measure(pipeline, prompt, options)
        rows.append({"prompt": prompt, **{name: round(value, 3) for name, value in row.items()}})
        ratios = "".join(f"{value:8.3f}" for name, value in row.items() if name != "sharpness")
        print(f"{prompt:48}{ratios}{row['sharpness']:11.2f}", flush=True)
    print(json.dumps({"frames": options.num_frames, "size": side, "rows": rows}))


if __name__ == "__main__":
    main()
