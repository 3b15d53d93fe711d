"""Videos in a local directory or an object store. A reader sees a whole object or none."""

import errno
import mimetypes
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store, from_url

from service.settings import Settings

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
CHUNK_BYTES = 256 * 1024
RETRY_SECONDS = 20
"""How long a remote store that does not answer, or answers with a 5xx, is asked again."""
FULL = re.compile(r"No space left|quota exceeded|os error (27|28|122)|EntityTooLarge|QuotaExceeded", re.IGNORECASE)


class StorageError(RuntimeError):
    """The store did not do what was asked."""


class StorageUnavailable(StorageError):
    """The store cannot be reached, or refused; trying later may help."""


class StorageFull(StorageError):
    """There is no room left."""


class NotStored(StorageError):
    """There is no object under this key."""


@dataclass(frozen=True)
class StoredObject:
    key: str
    bytes: int
    modified: datetime


def video_key(job_id: str, attempt: int) -> str:
    """Each attempt writes to a path of its own, so that a late loser cannot touch the winner's video."""
    return checked(f"videos/{job_id}/a{attempt}.mp4")


def output_key(task: str, job_id: str, attempt: int) -> str:
    """Where an attempt puts what it makes: a video, or the weights of a style."""
    return checked(f"styles/{job_id}/a{attempt}.safetensors") if task == "style" else video_key(job_id, attempt)


def still_key(video: str, name: str, suffix: str) -> str:
    """Beside the video: its thumbnail or spritesheet."""
    return checked(f"{video.removesuffix('.mp4')}-{name}{suffix}")


def checked(key: str) -> str:
    """The key, when it is safe. Raises ValueError for one that could name anything outside the store."""
    if len(key) > 512 or not KEY.fullmatch(key):
        raise ValueError(f"not a storage key: {key[:80]!r}")
    return key


@contextmanager
def store_errors(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotStored(f"{key} is not stored") from None
    except (BaseError, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        if FULL.search(str(error)) or (
            isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        ):
            raise StorageFull(f"no room to store {key}: {reason}") from error
        raise StorageUnavailable(f"cannot reach {key}: {reason}") from error


class Storage:
    """Objects by key. Methods raise StorageError (see above) and ValueError for an unsafe key."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        self.store = store
        self.folder = folder

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """The store of `storage_url`, else the folder `data_dir`, which is made when missing."""
        url = settings.storage_url
        if url is None or url.startswith("file://"):
            folder = Path(url.removeprefix("file://")) if url else settings.data_dir
            return cls.in_folder(folder)
        return cls(remote_store(url, settings.storage_endpoint))

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        with store_errors(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
        return cls(LocalStore(folder, automatic_cleanup=True), folder)

    def put_file(self, file: Path | IO[bytes], key: str) -> None:
        """Stores a file under a key, all of it or nothing. When this returns it is on the disk. Blocks."""
        with store_errors(checked(key)):
            # A bucket gives the type back to those who come by a presigned URL; a local directory cannot keep it.
            kind = mimetypes.guess_type(key)[0] if self.folder is None else None
            obstore.put(self.store, key, file, attributes={"Content-Type": kind} if kind else None)
            if self.folder is not None:
                flush(self.folder / key)
                flush((self.folder / key).parent)

    def fetch(self, key: str, path: Path) -> None:
        """Writes an object to a new file. Blocks. Raises NotStored."""
        with store_errors(checked(key)), path.open("xb") as file:
            for chunk in obstore.get(self.store, key).stream(min_chunk_size=CHUNK_BYTES):
                file.write(bytes(chunk))

    def remove(self, key: str) -> None:
        """Deletes an object; one that is not there is no error. Blocks."""
        try:
            with store_errors(checked(key)):
                obstore.delete(self.store, key)
        except NotStored:
            return

    async def size(self, key: str) -> int:
        """Bytes of the object. Raises NotStored."""
        with store_errors(checked(key)):
            return (await obstore.head_async(self.store, key))["size"]

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) of the object in chunks, to its end when `end` is None. Raises NotStored."""
        with store_errors(checked(key)):
            if end is None:
                end = await self.size(key)
            if end <= start:
                return
            found = await obstore.get_async(self.store, key, options={"range": (start, end)})
            async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    async def presigned(self, key: str, lifetime: timedelta) -> str:
        """A URL of the store itself that gives the object to anybody until it expires. Not for a local directory."""
        assert isinstance(self.store, AzureStore | GCSStore | S3Store)
        with store_errors(checked(key)):
            return await obstore.sign_async(self.store, "GET", key, lifetime)

    async def delete(self, key: str) -> None:
        """Deletes an object; one that is not there is no error."""
        try:
            with store_errors(checked(key)):
                await obstore.delete_async(self.store, key)
        except NotStored:
            return

    async def objects(self, folder: str) -> AsyncIterator[StoredObject]:
        """All objects below a folder."""
        with store_errors(folder):
            async for page in obstore.list(self.store, f"{folder}/"):
                for entry in page:
                    yield StoredObject(entry["path"], entry["size"], entry["last_modified"])

    async def probe(self) -> None:
        """Returns when the store takes, gives back and forgets an object."""
        key = f"probes/{os.getpid()}"
        with store_errors(key):
            await obstore.put_async(self.store, key, b"probe")
            await obstore.head_async(self.store, key)
            await obstore.delete_async(self.store, key)


def remote_store(url: str, endpoint: str | None) -> ObjectStore:
    """The bucket of `url`; credentials and region are those of the environment (AWS_…, GOOGLE_…, AZURE_…).

    endpoint: the server that speaks for the bucket, where it is not the cloud's own.
    """
    return from_url(
        url,
        config={"endpoint": endpoint} if endpoint else None,
        client_options={
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=3),
            "timeout": timedelta(minutes=10),  # of one request with its body, which a slow reader draws out
        },
        retry_config={"max_retries": 8, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


def flush(path: Path) -> None:
    """Forces a file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
