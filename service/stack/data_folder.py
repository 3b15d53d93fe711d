"""The folder that holds videos, the append-only file of Redis and logs belongs to one stack at a time."""

import fcntl
import os
import time
from pathlib import Path


class DataFolderInUse(Exception):
    """Another stack holds the folder; the message names its process."""


def hold(folder: Path, patience: float = 5.0) -> int:
    """Create the folder if need be and lock it; returns the lock's file descriptor.

    The lock lasts until every copy of the descriptor is closed. Redis inherits one, so that after a `kill -9` of the
    stack the next one waits until the old Redis has written its file.

    Raises:
        DataFolderInUse: somebody holds it for longer than `patience` seconds.
        OSError: the folder cannot be created or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    waited_until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < waited_until:
                time.sleep(0.05)
                continue
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise DataFolderInUse(
                f"{folder} is in use by another stack ({holder or 'unknown'}); stop that one or set LUMIERE_DATA_DIR"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}".encode(), 0)
        return descriptor


def note_redis(folder: Path, url: str) -> None:
    """Leaves word where the folder's Redis can be reached, for commands on this machine."""
    (folder / "redis" / "address").write_text(url, encoding="utf-8")


def forget_redis(folder: Path) -> None:
    (folder / "redis" / "address").unlink(missing_ok=True)


def redis_address(folder: Path) -> str | None:
    """The address of the folder's Redis while a stack runs; None when none does."""
    try:
        return (folder / "redis" / "address").read_text(encoding="utf-8")
    except OSError:
        return None
