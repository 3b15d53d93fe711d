"""From bytes that a client sends to a stored, hashed file of a known format."""

import asyncio
import base64
import binascii
import hashlib
import io
from typing import IO

from service.api.errors import ApiError
from service.api.resources import Resources, in_time
from service.jobs.contract import MediaRef
from service.uploads.media import HEAD_BYTES, MediaType, UnknownMedia, sniff
from service.uploads.records import FileRecord, new_file_id, upload_key

MAX_FILENAME = 200


async def store_upload(
    held: Resources,
    file: IO[bytes],
    *,
    param: str,
    filename: str,
    purpose: str,
    lifetime_seconds: int | None = None,
) -> FileRecord:
    """Stores and records a file whose bytes are an image or a video.

    Raises:
        ApiError: it is empty, too large, or none of the accepted formats; `param` is named.
        RedisUnavailable, StorageError.
    """
    media_type, size, digest = await asyncio.to_thread(examine, file, param, held.max_upload_bytes)
    file_id = new_file_id()
    media = MediaRef(key=upload_key(file_id), media_type=media_type.name, sha256=digest, bytes=size)
    await asyncio.to_thread(held.storage.put_file, file, media.key)
    try:
        return await in_time(
            held.files.add(
                file_id,
                media,
                filename=safe_name(filename) or f"{file_id}{media_type.suffix}",
                purpose=purpose,
                lifetime_seconds=lifetime_seconds,
            )
        )
    except BaseException:
        await held.storage.delete(media.key)
        raise


async def forget_upload(held: Resources, file: FileRecord) -> None:
    """Removes a file, its record first: nobody is then sent to bytes that are gone."""
    await in_time(held.files.delete(file.id))
    await held.storage.delete(file.ref.key)


def examine(file: IO[bytes], param: str, limit: int) -> tuple[MediaType, int, str]:
    """Format, size and SHA-256 of a file, which is left at its beginning. Raises ApiError."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size == 0:
        raise ApiError("invalid_field", f"{param} is empty", param=param)
    if size > limit:
        raise ApiError("file_too_large", f"{param} may have {limit} bytes at most", param=param)
    try:
        media_type = sniff(file.read(HEAD_BYTES))
    except UnknownMedia as reason:
        raise ApiError("unsupported_media", f"{param} {reason}", param=param) from None
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(1024 * 1024):
        digest.update(chunk)
    file.seek(0)
    return media_type, size, digest.hexdigest()


def safe_name(name: str) -> str:
    """The last part of a name, for display only; no path is ever built from it."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(character for character in last if character.isprintable())[:MAX_FILENAME].strip()


def decode_data_url(url: str, param: str) -> bytes:
    """The bytes of a base64 data URL; its declared type is not believed. Raises ApiError."""
    if url[:5].lower() != "data:":
        detail = f"{param}: URLs are not fetched; send the file itself, a data URL, or the id of an upload"
        raise ApiError("invalid_field", detail, param=param)
    head, comma, content = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ApiError("invalid_field", f"{param} must be a base64 data URL", param=param)
    return decode_base64(content, param)


def decode_base64(text: str, param: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(
            "invalid_field", f"{param} must be a file, a file id, a data URL or base64", param=param
        ) from None
