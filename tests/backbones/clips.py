"""Small videos with captions, as a user has them: real MP4s of several sizes, rates and lengths."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np

from model.video_io import write_mp4


def numbered_frames(count: int, height: int, width: int, tint: int = 0) -> np.ndarray:
    """uint8 (count, h, w, 3): frame i is uniformly 8 * i bright in red, so that frames can be told apart."""
    frames = np.full((count, height, width, 3), tint, np.uint8)
    frames[..., 0] = (8 * np.arange(count) % 256)[:, None, None]
    return frames


def number_of(pixels: np.ndarray) -> np.ndarray:
    """Which frames of `numbered_frames` these are, from (..., 3, h, w)."""
    return np.rint(pixels[..., 0, :, :].astype(float).mean((-1, -2)) / 8).astype(int)


def write_folder(folder: Path) -> Path:
    """Captions in text files, one video below a folder, another shape, another rate, and one that is too short."""
    (folder / "more").mkdir(parents=True)
    write_mp4(numbered_frames(20, 32, 32), folder / "square.mp4", 16)
    write_mp4(numbered_frames(20, 32, 32, tint=90), folder / "tinted.mp4", 16)
    write_mp4(numbered_frames(24, 32, 48), folder / "more" / "wide.mp4", 16)
    write_mp4(numbered_frames(30, 64, 64), folder / "quick.mp4", 32)
    write_mp4(numbered_frames(3, 32, 32), folder / "short.mp4", 16)
    for path in folder.rglob("*.mp4"):
        path.with_suffix(".txt").write_text(f"a {path.stem} clip\n")
    return folder


def write_metadata_folder(folder: Path) -> Path:
    """One metadata.jsonl, as Hugging Face's VideoFolder has it."""
    write_folder(folder)
    lines = []
    for path in sorted(folder.rglob("*.mp4")):
        path.with_suffix(".txt").unlink()
        lines.append(json.dumps({"file_name": path.relative_to(folder).as_posix(), "text": f"told of {path.stem}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_tars(folder: Path, scratch: Path) -> Path:
    """The same videos in two WebDataset shards, captions as text in one and as JSON in the other."""
    videos = sorted(write_folder(scratch).rglob("*.mp4"))
    folder.mkdir()
    for shard, members in enumerate((videos[:2], videos[2:])):
        with tarfile.open(folder / f"clips-{shard:04d}.tar", "w") as tar:
            for number, path in enumerate(members):
                caption = f"shard {shard} {path.stem}"
                text = (".txt", caption) if shard == 0 else (".json", json.dumps({"caption": caption}))
                tar.add(path, f"sample{number}.mp4")
                content = text[1].encode()
                member = tarfile.TarInfo(f"sample{number}{text[0]}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder
