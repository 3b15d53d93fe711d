"""How near the first frame of an image-to-video file comes to the picture it was made from, as a stranger measures it.

    python benchmarks/first_frame.py                         # scenes and photographs, at the model's defaults
    python benchmarks/first_frame.py --steps 2 --frames 16   # quick: the first frame is put back whatever the steps
    python benchmarks/first_frame.py --ffmpeg /usr/bin/ffmpeg

Scenes of the world that no training saw are drawn at 64 to 512 pixels. Photographs are pictures with the statistics of
nature (noise whose amplitude falls with the frequency, shadings, writing), stored as phones, scanners and editors do.
Each goes from its file through the pipeline into an MP4. Its first frame, decoded by PyAV and by ffmpeg with nothing
said about colours, is compared with the picture as Pillow resizes it to the video, bicubic or Lanczos; and, resized
itself, with the picture. Prints a table of decibels, median (least), and, as the last line, one JSON object.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from model.conditioning import Keyframe
from model.inputs import read_picture
from model.pipeline import LumierePipeline
from model.training.scenes.attributes import sample_scenes
from model.training.scenes.render import frame_times, render
from model.video_io import write_mp4

SHIPPED = Path(__file__).resolve().parent.parent / "model" / "weights" / "lumiere-mini"
PROMPT = "a red ball moving right in a meadow"
ORIENTATION = 0x0112
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def scene(size: int, seed: int) -> Image.Image:
    drawn = sample_scenes(1, torch.Generator().manual_seed(seed), split="held-out")
    picture = rearrange(render(drawn, frame_times(1, start=2.0), size)[0, :, 0], "c h w -> h w c")
    return Image.fromarray(((picture + 1) * 127.5).round().clamp(0, 255).byte().numpy())


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Shadings, 1/f noise in brightness and, weaker, in colour, and a line of writing."""
    random = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falling = 1 / np.maximum(np.hypot(rows, columns), 1 / max(width, height)) ** 1.2

    def noise() -> NDArray[np.float64]:
        field = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) * falling, s=(height, width))
        spread: NDArray[np.float64] = field / field.std()
        return spread

    y, x = np.mgrid[:height, :width] / max(width, height)
    shading = random.uniform(60, 190, 3) + np.stack([x, y, x - y], -1) @ random.uniform(-60, 60, (3, 3))
    levels = shading + 34 * noise()[..., None] + 9 * np.stack([noise() for _ in range(3)], -1)
    picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if min(width, height) >= 64:
        ImageDraw.Draw(picture).text(
            (width // 10, height // 2), "Lumière 1895", "white", font_size=min(width, height) // 8
        )
    return picture


def transparent(picture: Image.Image) -> Image.Image:
    """Fading out to the right."""
    alpha = Image.linear_gradient("L").rotate(90).resize(picture.size)
    picture.putalpha(alpha)
    return picture


def sixteen_bits(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


def phone(path: Path) -> None:
    """Stored lying on its side, with the tag that says so."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photograph(1600, 1200, 3).save(path, exif=exif, quality=90)


PHOTOGRAPHS: dict[str, Callable[[Path], None]] = {
    "landscape 640x480.jpg": lambda path: photograph(640, 480, 1).save(path, quality=90),
    "portrait 480x853.jpg": lambda path: photograph(480, 853, 2).save(path, quality=90),
    "on its side 1600x1200.jpg": phone,
    "large 4000x3000.jpg": lambda path: photograph(4000, 3000, 4).save(path, quality=85),
    "panorama 2000x300.jpg": lambda path: photograph(2000, 300, 5).save(path, quality=90),
    "odd 333x517.png": lambda path: photograph(333, 517, 6).save(path),
    "tiny 17x9.png": lambda path: photograph(17, 9, 7).save(path),
    "icon 48x48.png": lambda path: photograph(48, 48, 8).save(path),
    "transparent 400x300.png": lambda path: transparent(photograph(400, 300, 9)).save(path),
    "16 bits 500x400.png": lambda path: sixteen_bits(photograph(500, 400, 10)).save(path),
    "palette 320x240.png": lambda path: photograph(320, 240, 11).quantize(256).save(path),
    "CMYK 600x450.jpg": lambda path: photograph(600, 450, 12).convert("CMYK").save(path, quality=90),
    "grey 512x512.jpg": lambda path: photograph(512, 512, 13).convert("L").save(path, quality=90),
    "animated 300x200.webp": lambda path: photograph(300, 200, 14).save(
        path, save_all=True, append_images=[photograph(300, 200, 15)], quality=90
    ),
}


def as_people_see(path: Path) -> Image.Image:
    """Upright RGB on white, by Pillow alone."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode == "I;16":
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def by_pyav(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        first: NDArray[np.uint8] = next(container.decode(video=0)).to_ndarray(format="rgb24")
    return first


def by_ffmpeg(ffmpeg: str, path: Path) -> NDArray[np.uint8]:
    png = path.with_suffix(".png")
    subprocess.run([ffmpeg, "-v", "error", "-y", "-i", path, "-frames:v", "1", png], check=True)
    with Image.open(png) as first:
        return np.asarray(first.convert("RGB"))


def decibels(one: Any, other: Any) -> float:
    error = np.square(np.asarray(one, np.float64) - np.asarray(other)).mean()
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def compared(picture: Image.Image, first: NDArray[np.uint8]) -> dict[str, float]:
    """The ways in which a stranger may lay a picture and a frame of other sizes on each other."""
    size = (first.shape[1], first.shape[0])
    ratio = max(size[0] / picture.width, size[1] / picture.height)
    shown = (size[0] / ratio, size[1] / ratio)  # of the picture, its middle
    left, top = (picture.width - shown[0]) / 2, (picture.height - shown[1]) / 2
    inside = tuple(round(edge) for edge in (left, top, left + shown[0], top + shown[1]))
    cut = picture.crop(inside)
    return {
        "bicubic": decibels(ImageOps.fit(picture, size, BICUBIC), first),
        "lanczos": decibels(ImageOps.fit(picture, size, LANCZOS), first),
        "frame resized": decibels(cut, Image.fromarray(first).resize(cut.size, BICUBIC)),
    }


def inputs(folder: Path, scenes: int) -> Iterator[tuple[str, Path]]:
    """(group, file)"""
    for size in (64, 128, 256, 512):
        for seed in range(scenes):
            path = folder / f"scene {size} {seed}.png"
            scene(size, 100 + seed).save(path)
            yield f"scenes, {size} pixels", path
    for name, store in PHOTOGRAPHS.items():
        store(folder / name)
        yield "photographs", folder / name


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--scenes", type=int, default=4, help="of each size")
    parser.add_argument("--steps", type=int, help="instead of the model's default")
    parser.add_argument("--frames", type=int, help="instead of the model's default")
    parser.add_argument("--size", help="WIDTHxHEIGHT instead of the model's default")
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"), help="its path, if it is to decode, too")
    asked = parser.parse_args(words)
    pipeline = LumierePipeline.from_pretrained(asked.model)
    defaults = pipeline.card["defaults"]
    width, height = map(int, (asked.size or defaults["size"]).split("x"))
    frames = asked.frames or defaults["num_frames"]
    groups: dict[str, list[dict[str, float]]] = {}
    single: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for group, path in inputs(Path(folder), asked.scenes):
            clip = pipeline.image_to_video(
                PROMPT,
                keyframes=[Keyframe(read_picture(path, width, height), 0)],
                num_frames=frames,
                height=height,
                width=width,
                num_inference_steps=asked.steps,
                seed=1,
            )
            film = Path(folder) / "film.mp4"
            write_mp4(clip.frames, film, defaults["fps"])
            decoders = {"PyAV": by_pyav(film)} | ({"ffmpeg": by_ffmpeg(asked.ffmpeg, film)} if asked.ffmpeg else {})
            picture = as_people_see(path)
            row = {
                f"{name}, {way}": round(value, 2)
                for name, first in decoders.items()
                for way, value in compared(picture, first).items()
            }
            groups.setdefault(group, []).append(row)
            if group == "photographs":
                single[path.name] = row
    ways = list(next(iter(groups.values()))[0])
    print(f"{width}x{height}, {frames} frames{'':20}", *(f"{way:>24}" for way in ways))
    for group, rows in groups.items():
        values = np.array([[row[way] for way in ways] for row in rows])
        cells = (
            f"{median:.1f} ({least:.1f})" for median, least in zip(np.median(values, 0), values.min(0), strict=True)
        )
        print(f"{group:36}", *(f"{cell:>24}" for cell in cells))
    for name, row in single.items():
        print(f"    {name:32}", *(f"{value:24.1f}" for value in row.values()))
    print(json.dumps({"size": f"{width}x{height}", "groups": groups, "photographs": single}))


if __name__ == "__main__":
    main()
