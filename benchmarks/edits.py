"""What the tasks keep and what they change, measured on the decoded MP4s of a model, on scenes that no training saw.

    python benchmarks/edits.py                                      # the shipped model, two scenes
    python benchmarks/edits.py --tasks stylize --scenes 6 --sheets out

Image-to-video: the first frame against the given one, in 4:2:0 and 4:4:4, all colours and luma. Inpainting: the outside
of the hole against the source. Cinemagraph: the still region against the first frame, on the worst frame; motion inside
of the region; and the step from the last frame to the first, in mean steps between frames. Stylization, each scene in
another look: how the subject's track correlates with the source's, along the axis on which that moves, and how much the
look changes. Prints a table and, as the last line, one JSON object.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from model.conditioning import Box, Keyframe, place, placement, region_of_boxes
from model.evaluation.colour_track import colour_track, correlation
from model.pipeline import LumierePipeline
from model.training.scenes.attributes import scenes_from_names
from model.training.scenes.render import frame_times, render_with_cover
from model.video_io import Chroma, Frames, contact_sheet, read_mp4, write_mp4

SHIPPED = Path(__file__).resolve().parent.parent / "model" / "weights" / "lumiere-mini"
TASKS = ("image_to_video", "inpaint", "cinemagraph", "stylize")
LUMA = np.array([0.2126, 0.7152, 0.0722])


class Scene(NamedTuple):
    """says: what it shows. look: a prompt that asks for it in another one."""

    prompt: str
    says: dict[str, str]
    look: str


SCENES = (
    Scene(
        "a red ball moving right in a meadow",
        {"subject": "ball", "colour": "red", "setting": "meadow", "motion": "right"},
        "a red ball moving right in a meadow, made of wooden blocks",
    ),
    Scene(
        "a blue star rising in the desert",
        {"subject": "star", "colour": "blue", "setting": "desert", "motion": "rising"},
        "a melting gold sculpture of a star rising in the desert",
    ),
    Scene(
        "a purple butterfly swinging in the night sky",
        {"subject": "butterfly", "colour": "purple", "setting": "night sky", "motion": "swinging"},
        "a purple butterfly swinging in the night sky, origami style",
    ),
    Scene(
        "a pink heart bouncing on the beach",
        {"subject": "heart", "colour": "pink", "setting": "beach", "motion": "bouncing"},
        "a watercolor painting of a pink heart bouncing on the beach",
    ),
    Scene(
        "an orange fish swimming left underwater",
        {"subject": "fish", "colour": "orange", "setting": "underwater", "motion": "left"},
        "an orange fish swimming left underwater, line drawing",
    ),
    Scene(
        "a green balloon falling over the countryside",
        {"subject": "balloon", "colour": "green", "setting": "countryside", "motion": "falling"},
        "a green balloon falling over the countryside, made of wooden blocks",
    ),
)
DRAWN = 128
"""Pixels at which scenes are drawn, which takes long beyond; they are enlarged from there."""
HOLE = Box(0.3, 0.3, 0.4, 0.4)
MOVES = Box(0, 0.5, 1, 0.5)


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


class Source(NamedTuple):
    """cover: (t, h, w) in [0, 1], where the subject is, at the size at which scenes are drawn."""

    frames: Frames
    cover: NDArray[np.float32]


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

    def source(self, number: int, says: dict[str, str]) -> Source:
        scenes = scenes_from_names([{**says, "style": "plain"}], torch.Generator().manual_seed(7_000_000 + number))
        video, cover = render_with_cover(scenes, frame_times(self.frames), min(self.size, DRAWN))
        levels = rearrange((video[0] + 1) * 127.5, "c t h w -> t h w c").round().clamp(0, 255).to(torch.uint8)
        return Source(self.sized(levels.numpy(), self.size), cover[0, 0].numpy())

    def sized(self, frames: Frames, side: int) -> Frames:
        return place(frames, placement(frames.shape[1:3], (side, side)))

    def image_to_video(self, scene: Scene, source: Source) -> dict[str, float]:
        made = self.pipeline.image_to_video(
            scene.prompt, keyframes=[Keyframe(source.frames[0], 0)], num_frames=self.frames, **self.options
        ).frames
        half = self.decoded(made, f"image-to-video {scene.prompt}")[0]
        full = self.decoded(made, f"image-to-video {scene.prompt}", "4:4:4")[0]
        return {
            "first_frame_db": psnr(half, source.frames[0]),
            "first_frame_luma_db": psnr(half @ LUMA, source.frames[0] @ LUMA),
            "first_frame_444_db": psnr(full, source.frames[0]),
        }

    def inpaint(self, scene: Scene, source: Source) -> dict[str, float]:
        given = self.decoded(source.frames, f"source {scene.prompt}")  # as people have it
        hole = region_of_boxes([HOLE], self.frames, self.fps, self.size, self.size)
        made = self.pipeline.inpaint(scene.prompt, video=given, mask=hole, **self.options).frames
        outside = ~np.broadcast_to(hole, made.shape[:3])
        clip = self.decoded(made, f"inpaint {scene.prompt}")
        inside = made[~outside].reshape(self.frames, -1, 3).astype(float)
        return {
            "outside_changed": float((made[outside] != given[outside]).mean()),
            "outside_db": min(psnr(a[o], b[o]) for a, b, o in zip(clip, given, outside, strict=True)),
            "hole_step": float(np.abs(np.diff(inside, axis=0)).mean()),
        }

    def cinemagraph(self, scene: Scene, source: Source) -> dict[str, float]:
        region = region_of_boxes([MOVES], self.frames, self.fps, self.size, self.size)
        made = self.pipeline.cinemagraph(
            scene.prompt, image=source.frames[0], mask=region, loop=True, num_frames=self.frames, **self.options
        ).frames
        clip = self.decoded(made, f"cinemagraph {scene.prompt}").astype(np.float64)
        still, moves = ~region[0], region[0]
        steps = np.abs(np.diff(clip[:, moves], axis=0)).mean((1, 2))
        return {
            "still_db": min(psnr(frame[still], clip[0][still]) for frame in clip[1:]),
            "step": float(steps.mean()),
            "loop_step_ratio": float(np.abs(clip[-1, moves] - clip[0, moves]).mean() / max(steps.mean(), 1e-9)),
        }

    def stylize(self, scene: Scene, source: Source) -> dict[str, float]:
        made = self.pipeline.stylize(scene.look, video=source.frames, **self.options).frames
        clip = self.decoded(made, f"stylize {scene.look}")
        theirs, ours = (
            colour_track(self.sized(frames, source.cover.shape[1]), source.cover) for frames in (source.frames, clip)
        )
        return {"track_correlation": correlation(ours, theirs), "look_db": psnr(clip, source.frames)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
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
        scene = SCENES[number % len(SCENES)]
        source = measured.source(number, scene.says)
        for task in asked.tasks:
            measure = getattr(measured, task)
            figures = {name: round(value, 3) for name, value in measure(scene, source).items()}
            prompt = scene.look if task == "stylize" else scene.prompt
            rows.append({"task": task, "prompt": prompt, **figures})
            print(f"{task:16}{prompt:70}", *(f"{name} {value:g}" for name, value in figures.items()), flush=True)
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
