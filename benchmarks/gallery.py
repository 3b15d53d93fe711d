"""Pages of the gallery: rendered clips of the world, and beside each what a model makes of the same caption.

    python benchmarks/gallery.py                                    # into docs/images/gallery, minutes on a CPU
    python benchmarks/gallery.py --pages settings --out runs/gallery --size 32 --steps 4 --frames 16

Every combination of subject, colour, setting and motion is kept away from training, and so are the seeds of the
rendered clips. All videos have the same seed, and none is left out. The PNGs have as many colours as fit.
"""

import argparse
import random
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from model.conditioning import place, placement
from model.evaluation.rendered import FRAMES, scenes_of, to_clips
from model.pipeline import LumierePipeline
from model.training.scenes.attributes import (
    ATTRIBUTES,
    CAMERAS,
    COLOURS,
    MOTIONS,
    RELATIONS,
    SETTINGS,
    STYLES,
    SUBJECTS,
    is_held_out,
)
from model.training.scenes.captions import caption
from model.training.scenes.render import frame_times, render
from model.video_io import Frames, contact_sheet

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "model" / "weights" / "lumiere-mini"
SCENES_SEED, VIDEO_SEED = 7_000_500, 1
DRAWN, SHOWN = 128, 96
"""Pixels along a side of a rendered clip, and of a frame on a page."""
MOMENTS = 5
"""Frames of each clip on a page."""
CAPTION, GAP = 14, 8
LARGEST = 500_000
"""Bytes of a PNG."""

Named = dict[str, str]


def settings() -> Iterator[Named]:
    motions = ("right", "bouncing", "still", "left", "growing", "orbiting")
    for i, setting in enumerate(SETTINGS):
        yield {"subject": SUBJECTS[i], "setting": setting, "motion": motions[i % len(motions)]}


def motions() -> Iterator[Named]:
    for i, motion in enumerate(MOTIONS):
        yield {"subject": SUBJECTS[-1 - i], "setting": SETTINGS[(5 * i + 2) % len(SETTINGS)], "motion": motion}


def styles() -> Iterator[Named]:
    subjects = ("boat", "car", "star", "knight", "bird", "fish")
    places = ("lake", "mountain road", "desert", "countryside", "city", "beach")
    for style, subject, setting in zip(STYLES[1:], subjects, places, strict=True):
        yield {"subject": subject, "setting": setting, "motion": "right", "style": style}


def pairs() -> Iterator[Named]:
    subjects = ("ball", "cube", "star", "heart", "knight", "car")
    places = ("meadow", "snowfall", "night sky", "volcano", "countryside", "beach")
    for i, (subject, setting) in enumerate(zip(subjects, places, strict=True)):
        other = {"other_subject": subjects[i - 3], "other_colour": tuple(COLOURS)[(3 * i + 2) % len(COLOURS)]}
        motion = "bouncing" if i % 2 else "still"
        yield {"subject": subject, "setting": setting, "motion": motion, "relation": RELATIONS[1 + i % 2], **other}


def cameras() -> Iterator[Named]:
    for camera, subject, setting in zip(
        CAMERAS[1:], ("car", "rocket", "knight", "butterfly"), ("city", "volcano", "forest", "meadow"), strict=True
    ):
        yield {"subject": subject, "setting": setting, "motion": "still", "camera": camera}


PAGES = {"settings": settings, "motions": motions, "styles": styles, "pairs": pairs, "cameras": cameras}


def shown_on(page: str) -> list[Named]:
    """What the clips of a page show, all that it does not choose said too."""
    return [kept_away({name: values[0] for name, values in ATTRIBUTES.items()} | chosen) for chosen in PAGES[page]()]


def kept_away(named: Named) -> Named:
    """In the one colour in which training never saw the rest."""
    colours = list(COLOURS)
    fields = {
        name: torch.full((len(colours),), values.index(named[name]))
        for name, values in ATTRIBUTES.items()
        if name != "colour"
    }
    held_out = is_held_out({**fields, "colour": torch.arange(len(colours))})
    return {**named, "colour": colours[int(held_out.nonzero()[0])]}


def captions_of(shown: list[Named]) -> list[str]:
    return [caption(named, random.Random(row), open_share=0.0).text for row, named in enumerate(shown)]


def the_world(shown: list[Named]) -> list[Frames]:
    """MOMENTS frames of each clip, from its first to its last."""
    return to_clips(render(scenes_of(shown, SCENES_SEED), frame_times(FRAMES)[moments(FRAMES)], DRAWN))


def moments(frames: int) -> list[int]:
    return np.linspace(0, frames - 1, MOMENTS).round().astype(int).tolist()


def sheet(texts: list[str], world: list[Frames], made: list[Frames]) -> Image.Image:
    """A row for each caption: MOMENTS frames of the world's clip, and as many of the model's."""
    half = MOMENTS * SHOWN
    page = Image.new("RGB", (2 * half + GAP, CAPTION + (SHOWN + CAPTION) * len(texts)), "white")
    draw = ImageDraw.Draw(page)
    draw.text((3, 1), "the world", fill="grey")
    draw.text((half + GAP + 3, 1), "the model", fill="grey")
    for row, (text, *clips) in enumerate(zip(texts, world, made, strict=True)):
        top = CAPTION + row * (SHOWN + CAPTION)
        draw.text((3, top + 1), text, fill="black")
        for column, clip in enumerate(clips):
            frames = place(clip[moments(len(clip))], placement(clip.shape[1:3], (SHOWN, SHOWN)))
            page.paste(contact_sheet(frames, columns=MOMENTS), (column * (half + GAP), top + CAPTION))
    return page


def small_png(picture: Image.Image) -> bytes:
    """With as many colours as fit into LARGEST, at least 16."""
    colours = 256
    while True:
        file = BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() <= LARGEST or colours <= 16:
            return file.getvalue()
        colours //= 2


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "gallery")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES))
    parser.add_argument("--size", type=int, default=128, help="pixels along each side of the model's videos")
    parser.add_argument("--steps", type=int, help="instead of the model's default")
    parser.add_argument("--frames", type=int, help="instead of the model's default")
    asked = parser.parse_args(words)
    asked.out.mkdir(parents=True, exist_ok=True)
    pipeline = LumierePipeline.from_pretrained(asked.model)
    options = {
        "height": asked.size,
        "width": asked.size,
        "num_frames": asked.frames or pipeline.card["defaults"]["num_frames"],
        "num_inference_steps": asked.steps,
        "seed": VIDEO_SEED,
    }
    for page in asked.pages:
        shown = shown_on(page)
        texts = captions_of(shown)
        made = [pipeline.text_to_video(text, **options).frames for text in texts]
        content = small_png(sheet(texts, the_world(shown), made))
        (asked.out / f"{page}.png").write_bytes(content)
        print(f"{asked.out / page}.png: {len(shown)} rows, {len(content) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
