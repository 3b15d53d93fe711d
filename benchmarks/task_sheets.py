"""Contact sheets for the pages, drawn by a model: what it makes of prompts and in its styles, and of every task what is
given and what comes of it, row by row.

    python -m benchmarks.task_sheets                                # into docs/images/tasks, minutes on a CPU
    python -m benchmarks.task_sheets --tasks inpaint --out runs/sheets --steps 4 --frames 16
    python -m benchmarks.task_sheets --tasks learned-style          # learns styles from one picture each, minutes more

Sources are scenes of the world that no training saw. Where something is made anew its source is shown grey. The PNGs
have as many colours as fit into 400 kB, rare ones among them.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from PIL import Image

from benchmarks.reference_pictures import PICTURES, SHOWS
from model.conditioning import Box, Frames, Keyframe, Region, place, placement, region_of_boxes
from model.evaluation.report import prompt_sheet
from model.pipeline import LumierePipeline
from model.training.scenes.attributes import scenes_from_names
from model.training.scenes.render import frame_times, render

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "model" / "weights" / "lumiere-mini"
SHOWN = 128
"""Pixels along a side of a frame on a sheet."""
LARGEST = 400_000
"""Bytes of a PNG."""
DRAWN = 128
"""Pixels at which scenes are drawn, which takes long beyond; they are enlarged from there."""
BALL = {"subject": "ball", "colour": "red", "setting": "meadow", "motion": "right", "style": "plain"}
STAR = {"subject": "star", "colour": "blue", "setting": "desert", "motion": "rising", "style": "plain"}
LEARNED_PROMPTS = (
    "a red car on a mountain road",
    "a blue fish underwater",
    "a yellow star at night",
    "a green balloon over a meadow",
    "a pink heart on the beach",
    "an orange butterfly in the desert",
    "a white boat at sea",
)
OVERVIEW_PROMPTS = (
    "a red car driving on a mountain road",
    "a knight riding through the countryside",
    "a white boat sailing left on a lake",
    "a purple butterfly orbiting in a forest",
    "a red ball above a blue cube on the beach",
    "a yellow balloon rising over a volcano",
    "a pink heart bouncing on the beach",
    "an orange star falling in the night sky",
)
SHORT = 16
"""Frames of a clip of which one is shown."""
HOLE = Box(0.55, 0.3, 0.4, 0.4)
LOWER_HALF = Box(0, 0.5, 1, 0.5)


class Row(NamedTuple):
    caption: str
    frames: Frames


class Studio:
    """A pipeline, and the sources that it is given."""

    def __init__(self, model: Path, steps: int | None, frames: int | None) -> None:
        self.pipeline = LumierePipeline.from_pretrained(model)
        defaults = self.pipeline.card["defaults"]
        self.frames, self.fps = frames or defaults["num_frames"], defaults["fps"]
        self.width, self.height = map(int, defaults["size"].split("x"))
        self.options = {"height": self.height, "width": self.width, "num_inference_steps": steps, "seed": 1}

    def scene(self, named: dict[str, str]) -> Frames:
        scenes = scenes_from_names([named], torch.Generator().manual_seed(7_000_000))
        video = render(scenes, frame_times(self.frames), min(self.height, DRAWN))[0]
        frames: Frames = rearrange((video + 1) * 127.5, "c t h w -> t h w c").round().clamp(0, 255).byte().numpy()
        return place(frames, placement(frames.shape[1:3], (self.height, self.width)))

    def region(self, box: Box) -> Region:
        return region_of_boxes([box], self.frames, self.fps, self.height, self.width)

    def alone(self, picture: Frames) -> Frames:
        """The first frame of `picture`, and nothing beside it."""
        return np.concatenate([picture[:1], np.full_like(picture[:1], 255).repeat(self.frames - 1, axis=0)])

    def made_of(self, prompt: str, **style: Any) -> Frames:
        return self.pipeline.text_to_video(prompt, num_frames=self.frames, **style, **self.options).frames

    def overview(self) -> list[Row]:
        return [Row(prompt, self.made_of(prompt)) for prompt in OVERVIEW_PROMPTS]

    def styles(self) -> list[Row]:
        """The same prompts and seed plain, and in each shipped style at full strength."""
        prompts = ("a red car driving on a mountain road", "a pink heart bouncing on the beach")
        rows = [Row(f"plain: {prompt}", self.made_of(prompt)) for prompt in prompts]
        for style in self.pipeline.styles:
            rows += [Row(f"{style}: {prompt}", self.made_of(prompt, style=style)) for prompt in prompts]
        return rows

    def text_to_video(self) -> list[Row]:
        prompts = (
            "a red car driving on a mountain road",
            "a pink heart bouncing on the beach",
            "a yellow cube flying in circles by the sea",
        )
        return [Row(prompt, self.made_of(prompt)) for prompt in prompts]

    def image_to_video(self) -> list[Row]:
        rows = []
        for named, prompt in (
            (BALL, "a red ball moving right in a meadow"),
            (STAR, "a blue star rising in the desert"),
        ):
            given = self.scene(named)
            keyframes = [Keyframe(given[0], 0)]
            made = self.pipeline.image_to_video(prompt, keyframes=keyframes, num_frames=self.frames, **self.options)
            rows += [Row("the picture", self.alone(given)), Row(prompt, made.frames)]
        return rows

    def inpaint(self) -> list[Row]:
        source, hole, prompt = self.scene(BALL), self.region(HOLE), "a green balloon in a meadow"
        made = self.pipeline.inpaint(prompt, video=source, mask=hole, **self.options)
        return [Row("the video and its hole", greyed(source, hole)), Row(prompt, made.frames)]

    def cinemagraph(self) -> list[Row]:
        picture, region = self.scene({**BALL, "setting": "beach"})[:1], self.region(LOWER_HALF)
        prompt = "waves on the beach"
        made = self.pipeline.cinemagraph(
            prompt, image=picture[0], mask=region, loop=True, num_frames=self.frames, **self.options
        )
        return [Row("the picture and what moves", self.alone(greyed(picture, region[:1]))), Row(prompt, made.frames)]

    def stylize(self) -> list[Row]:
        rows = []
        for named, subject, looks in (
            (BALL, "a red ball moving right in a meadow", ("made of wooden blocks", "origami style")),
            (STAR, "a blue star rising in the desert", ("made of wooden blocks", "watercolor painting")),
        ):
            source = self.scene(named)
            rows.append(Row("the video", source))
            for look in looks:
                made = self.pipeline.stylize(f"{subject}, {look}", video=source, **self.options)
                rows.append(Row(f"{subject}, {look}", made.frames))
        return rows

    def learned_style(self) -> list[Row]:
        """A column for the picture and for each prompt: the middle of a short clip."""
        rows = [Row("; ".join(LEARNED_PROMPTS), np.stack([blank(self.height, self.width), *self.middles()]))]
        with tempfile.TemporaryDirectory() as folder:
            for name, draw in PICTURES.items():
                picture = draw()
                style = self.pipeline.learn_style(picture, Path(folder) / f"{name}.safetensors", prompt=SHOWS)
                (shown,) = place(picture[None], placement(picture.shape[:2], (self.height, self.width)))
                rows += [
                    Row(
                        f"with the picture's style, strength {strength:g}",
                        np.stack([shown, *self.middles(style=style, style_strength=strength)]),
                    )
                    for strength in (0.5, 1.0)
                ]
        return rows

    def middles(self, **style: Any) -> Iterator[Frames]:
        frames = min(self.frames, SHORT)
        for prompt in LEARNED_PROMPTS:
            clip = self.pipeline.text_to_video(prompt, num_frames=frames, **style, **self.options)
            yield clip.frames[frames // 2]


def blank(height: int, width: int) -> Frames:
    return np.full((height, width, 3), 255, np.uint8)


TASKS: dict[str, Callable[[Studio], list[Row]]] = {
    "overview": Studio.overview,
    "styles": Studio.styles,
    "text-to-video": Studio.text_to_video,
    "image-to-video": Studio.image_to_video,
    "inpaint": Studio.inpaint,
    "cinemagraph": Studio.cinemagraph,
    "stylize": Studio.stylize,
    "learned-style": Studio.learned_style,
}


def greyed(frames: Frames, region: Region) -> Frames:
    return np.where(np.broadcast_to(region[..., None], frames.shape), np.uint8(128), frames)


def small_png(picture: Image.Image) -> bytes:
    """With as many colours as fit, at least 16."""
    colours = 256
    while True:
        file = BytesIO()
        reduced = picture.convert("RGB").quantize(
            colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
        )
        reduced.save(file, "PNG", optimize=True)
        if file.tell() <= LARGEST or colours <= 16:
            return file.getvalue()
        colours //= 2


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "tasks")
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=[task for task in TASKS if task != "learned-style"]
    )
    parser.add_argument("--steps", type=int, help="instead of the model's default")
    parser.add_argument("--frames", type=int, help="instead of the model's default")
    asked = parser.parse_args(words)
    asked.out.mkdir(parents=True, exist_ok=True)
    studio = Studio(asked.model, asked.steps, asked.frames)
    for task in asked.tasks:
        rows = TASKS[task](studio)
        shown = [place(row.frames, placement(row.frames.shape[1:3], (SHOWN, SHOWN))) for row in rows]
        sheet = prompt_sheet(shown, [row.caption for row in rows], scale=1)
        content = small_png(sheet)
        (asked.out / f"{task}.png").write_bytes(content)
        print(f"{asked.out / task}.png: {len(rows)} rows, {len(content) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
