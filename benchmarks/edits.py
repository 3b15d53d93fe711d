"""What the tasks keep and what they change, measured on the decoded MP4s of a model, on scenes that no training saw.

    python benchmarks/edits.py                        # the shipped model, two scenes
    python benchmarks/edits.py --scenes 4 --sheets out

Image-to-video: the first frame against the given one, in 4:2:0 and 4:4:4, all colours and luma. Inpainting: the outside
of the hole against the source. Cinemagraph: the still region against the first frame, on the worst frame; motion inside
of the region; and the step from the last frame to the first, in mean steps between frames. Stylization: how the track
of what moves correlates with the source's, along the axis on which that moves, and how much the look changes. Prints a
table and, as the last line, one JSON object.
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

from model.conditioning import Box, Keyframe, place, placement, region_of_boxes
from model.evaluation.measures import track
from model.pipeline import LumierePipeline
from model.training.scenes.attributes import scenes_from_names
from model.training.scenes.render import frame_times, render
from model.video_io import Chroma, Frames, contact_sheet, read_mp4, write_mp4

SHIPPED = Path(__file__).resolve().parent.parent / "model" / "weights" / "lumiere-mini"
LUMA = np.array([0.2126, 0.7152, 0.0722])
SCENES = (
    (
        "a red ball moving right in a meadow",
        {"subject": "ball", "colour": "red", "setting": "meadow", "motion": "right"},
    ),
    (
        "a blue star rising in the desert",
        {"subject": "star", "colour": "blue", "setting": "desert", "motion": "rising"},
    ),
    ("a yellow car driving left", {"subject": "car", "colour": "yellow", "setting": "mountain road", "motion": "left"}),
    (
        "a pink heart bouncing on the beach",
        {"subject": "heart", "colour": "pink", "setting": "beach", "motion": "bouncing"},
    ),
)
DRAWN = 128
"""Pixels at which scenes are drawn, which takes long beyond; they are enlarged from there."""
STYLE_PROMPT = "a melting gold sculpture of "
HOLE = Box(0.3, 0.3, 0.4, 0.4)
MOVES = Box(0, 0.5, 1, 0.5)


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


class Measured:
    """The pipeline, and its clips as players see them."""

    def __init__(self, model: Path, steps: int | None, frames: int | None, sheets: Path | None) -> None:
        self.pipeline = LumierePipeline.from_pretrained(model)
        defaults = self.pipeline.card["defaults"]
        self.frames, self.fps = frames or defaults["num_frames"], defaults["fps"]
        self.size = int(defaults["size"].split("x")[0])
        self.options: dict[str, Any] = {
            "height": self.size,
            "width": self.size,
            "num_inference_steps": steps,
            "seed": 1,
        }
        self.sheets = sheets

    def decoded(self, frames: Frames, name: str, chroma: Chroma = "4:2:0") -> Frames:
        with tempfile.TemporaryDirectory() as folder:
            write_mp4(frames, Path(folder) / "clip.mp4", self.fps, chroma=chroma)
            clip, _ = read_mp4(Path(folder) / "clip.mp4")
        if self.sheets is not None:
            picks = np.linspace(0, len(clip) - 1, 8).round().astype(int)
            contact_sheet(clip[picks]).save(self.sheets / f"{name}.png")
        return clip

    def scene(self, number: int, named: dict[str, str]) -> Frames:
        scenes = scenes_from_names([{**named, "style": "plain"}], torch.Generator().manual_seed(7_000_000 + number))
        video = render(scenes, frame_times(self.frames), min(self.size, DRAWN))[0]
        levels = rearrange((video + 1) * 127.5, "c t h w -> t h w c").round().clamp(0, 255).to(torch.uint8)
        return place(levels.numpy(), placement(levels.shape[1:3], (self.size, self.size)))

    def image_to_video(self, prompt: str, source: Frames) -> dict[str, float]:
        made = self.pipeline.image_to_video(
            prompt, keyframes=[Keyframe(source[0], 0)], num_frames=self.frames, **self.options
        ).frames
        half = self.decoded(made, f"image-to-video {prompt}")[0]
        full = self.decoded(made, f"image-to-video {prompt}", "4:4:4")[0]
        return {
            "first_frame_db": psnr(half, source[0]),
            "first_frame_luma_db": psnr(half @ LUMA, source[0] @ LUMA),
            "first_frame_444_db": psnr(full, source[0]),
        }

    def inpaint(self, prompt: str, source: Frames) -> dict[str, float]:
        given = self.decoded(source, f"source {prompt}")  # as people have it
        hole = region_of_boxes([HOLE], self.frames, self.fps, self.size, self.size)
        made = self.pipeline.inpaint(prompt, video=given, mask=hole, **self.options).frames
        outside = ~np.broadcast_to(hole, made.shape[:3])
        clip = self.decoded(made, f"inpaint {prompt}")
        inside = made[~outside].reshape(self.frames, -1, 3).astype(float)
        return {
            "outside_changed": float((made[outside] != given[outside]).mean()),
            "outside_db": min(psnr(a[o], b[o]) for a, b, o in zip(clip, given, outside, strict=True)),
            "hole_step": float(np.abs(np.diff(inside, axis=0)).mean()),
        }

    def cinemagraph(self, prompt: str, source: Frames) -> dict[str, float]:
        region = region_of_boxes([MOVES], self.frames, self.fps, self.size, self.size)
        made = self.pipeline.cinemagraph(
            prompt, image=source[0], mask=region, loop=True, num_frames=self.frames, **self.options
        ).frames
        clip = self.decoded(made, f"cinemagraph {prompt}").astype(np.float64)
        still, moves = ~region[0], region[0]
        steps = np.abs(np.diff(clip[:, moves], axis=0)).mean((1, 2))
        return {
            "still_db": min(psnr(frame[still], clip[0][still]) for frame in clip[1:]),
            "step": float(steps.mean()),
            "loop_step_ratio": float(np.abs(clip[-1, moves] - clip[0, moves]).mean() / max(steps.mean(), 1e-9)),
        }

    def stylize(self, prompt: str, source: Frames) -> dict[str, float]:
        made = self.pipeline.stylize(STYLE_PROMPT + prompt, video=source, **self.options).frames
        clip = self.decoded(made, f"stylize {prompt}")
        theirs, ours = track(source), track(clip)
        axis = int(np.nanvar(theirs[:, 1]) > np.nanvar(theirs[:, 0]))
        seen = ~np.isnan(theirs[:, axis]) & ~np.isnan(ours[:, axis])
        return {
            "track_correlation": float(np.corrcoef(theirs[seen, axis], ours[seen, axis])[0, 1]),
            "look_db": psnr(clip, source),
        }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument("--steps", type=int, help="instead of the model's default")
    parser.add_argument("--frames", type=int, help="instead of the model's default")
    parser.add_argument("--sheets", type=Path, help="a folder for contact sheets")
    asked = parser.parse_args(arguments)
    if asked.sheets is not None:
        asked.sheets.mkdir(parents=True, exist_ok=True)
    measured = Measured(asked.model, asked.steps, asked.frames, asked.sheets)
    rows = []
    for number in range(asked.scenes):
        prompt, named = SCENES[number % len(SCENES)]
        source = measured.scene(number, named)
        for task in (measured.image_to_video, measured.inpaint, measured.cinemagraph, measured.stylize):
            figures = {name: round(value, 3) for name, value in task(prompt, source).items()}
            rows.append({"task": task.__name__, "prompt": prompt, **figures})
            print(
                f"{task.__name__:16}{prompt:40}", *(f"{name} {value:g}" for name, value in figures.items()), flush=True
            )
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
