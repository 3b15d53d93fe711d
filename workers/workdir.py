"""A folder for unfinished videos, one per worker; those that killed workers left behind are removed by the next."""

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path


class Workdir:
    """The folder `root/name`, ours for as long as we hold the lock on the file beside it."""

    def __init__(self, root: Path, name: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        sweep(root)
        self.path = root / name
        self.lock_path = root / f"{name}.lock"
        self.lock = self.lock_path.open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock_path.unlink(missing_ok=True)
        self.lock.close()


def sweep(root: Path) -> None:
    """Removes the folders whose worker no longer holds its lock."""
    for lock_path in root.glob("*.lock"):
        with suppress(OSError), lock_path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
            lock_path.unlink(missing_ok=True)
