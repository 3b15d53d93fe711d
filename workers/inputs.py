"""The media that a job takes in, as local files of one attempt."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from service.jobs.contract import ErrorCode, JobSpec, Keyframe, MediaRef
from service.storage import NotStored, Storage
from service.uploads.media import MEDIA_TYPES


class InputLost(Exception):
    """An input is gone, or is not what was uploaded; the job cannot be run."""

    code = ErrorCode.INVALID_REQUEST


@dataclass(frozen=True)
class Inputs:
    """Paths by role; `keyframes` are in the order of the options. Name and suffix tell the field of the request and the
    sniffed format: the model names a file that it cannot use.
    """

    image: Path | None = None
    video: Path | None = None
    mask: Path | None = None
    keyframes: tuple[Path, ...] = ()
    style: Path | None = None
    """The weights of a style that was learned."""


def fetch_inputs(spec: JobSpec, storage: Storage, folder: Path) -> Inputs:
    """Copies all inputs of a job into `folder`, which is made, and checks them against their digests.

    Raises:
        InputLost: with the role of the input in its message.
        StorageError: the storage does not answer.
    """

    def fetch(media: MediaRef | None, role: str) -> Path | None:
        return None if media is None else fetch_media(media, role, storage, folder)

    options = spec.options
    folder.mkdir(exist_ok=True)
    return Inputs(
        image=fetch(getattr(options, "image", None), "image"),
        video=fetch(getattr(options, "video", None), "video"),
        mask=fetch(getattr(options, "mask", None), "mask"),
        style=fetch(getattr(options, "style_weights", None), "style"),
        keyframes=tuple(
            fetch_media(keyframe.image, field_of(keyframe), storage, folder)
            for keyframe in getattr(options, "keyframes", ())
        ),
    )


def field_of(keyframe: Keyframe) -> str:
    """What a request calls the image of a frame."""
    return {0: "image", -1: "last_image"}.get(keyframe.frame, f"keyframe-{keyframe.frame}")


def fetch_media(media: MediaRef, role: str, storage: Storage, folder: Path) -> Path:
    media_type = MEDIA_TYPES.get(media.media_type)
    path = folder / f"{role}{media_type.suffix if media_type else ''}"
    try:
        storage.fetch(media.key, path)
    except NotStored:
        raise InputLost(f"{role}: the file was deleted before the job ran") from None
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != media.sha256:
            raise InputLost(f"{role}: the stored file is not the one that was uploaded")
    return path
