"""Captioned videos as people keep them: a folder in the layout of Hugging Face's VideoFolder, or WebDataset tars.

A folder holds videos anywhere below it, each with its caption in a text file of the same name (`a/dog.mp4`,
`a/dog.txt`), or all of them in `metadata.jsonl`: one object a line with `file_name` and `text` or `caption`. A tar
holds pairs `NAME.mp4` and `NAME.txt` or `NAME.json`. Tars are read in place, without unpacking.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".gif"})
CAPTION_KEYS = ("text", "caption", "prompt")
METADATA = "metadata.jsonl"


class DataError(ValueError):
    """The data cannot be trained on. The message names the file."""


@dataclass(frozen=True)
class CaptionedVideo:
    """A video file, or `size` bytes from `offset` of a tar. name: for people, unique."""

    name: str
    caption: str
    path: Path
    offset: int = 0
    size: int | None = None

    def open(self) -> BinaryIO:
        if self.size is None:
            return self.path.open("rb")
        with self.path.open("rb") as tar:
            tar.seek(self.offset)
            return io.BytesIO(tar.read(self.size))


def find_videos(data: Path) -> list[CaptionedVideo]:
    """Every captioned video of a folder, its tars included, or of one tar, in the order of their names.

    Raises DataError if there is none, or one has no caption.
    """
    if data.is_file():
        videos = list(in_tar(data))
    elif data.is_dir():
        videos = list(in_folder(data))
        for tar in sorted(data.rglob("*.tar*")):
            videos += in_tar(tar)
    else:
        raise DataError(f"data: {data} is neither a folder nor a .tar file")
    if not videos:
        raise DataError(f"data: {data} holds no videos ({', '.join(sorted(SUFFIXES))}) and no .tar files")
    return sorted(videos, key=lambda video: video.name)


def in_folder(folder: Path) -> Iterator[CaptionedVideo]:
    told = captions_of(folder / METADATA) if (folder / METADATA).exists() else {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        text = path.with_suffix(".txt")
        if name in told:
            caption = told.pop(name)
        elif text.exists():
            caption = read_text(text).strip()
        else:
            raise DataError(f"{path} has no caption: neither {text.name} beside it nor a line in {METADATA}")
        yield CaptionedVideo(name, caption, path)
    if told:
        raise DataError(f"{folder / METADATA} names {next(iter(told))}, which is not there")


def captions_of(path: Path) -> dict[str, str]:
    """file_name -> caption."""
    captions = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            entry = as_object(line, f"{path}, line {number}")
            name = entry.get("file_name")
            if not isinstance(name, str):
                raise DataError(f"{path}, line {number}: file_name is missing")
            captions[Path(name).as_posix()] = caption_in(entry, f"{path}, line {number}")
    return captions


def in_tar(path: Path) -> Iterator[CaptionedVideo]:
    """WebDataset: members of one sample share everything before the first dot of their file name."""
    videos: dict[str, tarfile.TarInfo] = {}
    captions: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, file = member.name.rpartition("/")
                stem, _, suffix = file.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if not member.isfile():
                    continue
                if f".{suffix.lower()}" in SUFFIXES:
                    videos[key] = member
                elif suffix.lower() in ("txt", "json"):
                    captions[key] = caption_of_member(tar, member, suffix.lower(), f"{path}: {member.name}")
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path} cannot be read as an uncompressed tar: {error}") from error
    for key, member in videos.items():
        if key not in captions:
            raise DataError(f"{path}: {member.name} has no caption: neither {key}.txt nor {key}.json")
        yield CaptionedVideo(f"{path.name}/{member.name}", captions[key], path, member.offset_data, member.size)


def caption_of_member(tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str, where: str) -> str:
    file = tar.extractfile(member)
    content = b"" if file is None else file.read()
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8: {error}") from error
    return text if suffix == "txt" else caption_in(as_object(text, where), where)


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def as_object(text: str, where: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a JSON object")
    return value


def caption_in(entry: dict[str, object], where: str) -> str:
    for key in CAPTION_KEYS:
        if isinstance(caption := entry.get(key), str):
            return caption
    raise DataError(f"{where}: no caption under any of {', '.join(CAPTION_KEYS)}")


def fingerprint(videos: Iterable[CaptionedVideo]) -> str:
    """Changes when a video is added, removed, renamed or captioned anew."""
    lines = "\n".join(json.dumps([video.name, video.caption]) for video in videos)
    return hashlib.sha256(lines.encode()).hexdigest()
