"""The supervisor's hold on its work-horse: start it, talk to it, notice its death, kill it."""

import os
import shutil
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from service.settings import Settings
from service.waiting_threads import with_short_wait
from workers.messages import DeviceMemory, FromHorse, SetUp, ToHorse

BURIAL_SECONDS = 1.0
"""How long a process that has closed its pipe gets to end by itself."""


class HorseDied(Exception):
    """The work-horse's process has ended by itself or was killed."""


class Horse:
    """One work-horse process at a time. All calls from the thread that made it: it dies with that thread."""

    def __init__(self, runtime: str, settings: Settings, workdir: Path) -> None:
        self.runtime = runtime
        self.settings = settings
        self.workdir = workdir
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection | None = None
        self.memory: DeviceMemory | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None

    def start(self) -> None:
        """A fresh process that begins to load; it answers Ready or LoadFailed."""
        self.kill()
        shutil.rmtree(self.workdir, ignore_errors=True)
        self.workdir.mkdir(parents=True)
        ours, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "workers.horse", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=with_short_wait({**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}),
            )
        self.connection = ours
        self.send(SetUp(self.runtime, self.settings, str(self.workdir)))

    def send(self, message: ToHorse) -> None:
        """Raises HorseDied."""
        if self.connection is None:
            raise HorseDied("the work-horse is not running")
        try:
            self.connection.send(message)
        except OSError:
            raise HorseDied(self.bury()) from None

    def receive(self, seconds: float) -> FromHorse | None:
        """What the horse said next, None when it said nothing for so long. Raises HorseDied."""
        if self.connection is None:
            raise HorseDied("the work-horse is not running")
        try:
            if not self.connection.poll(seconds):
                return None
            message: FromHorse = self.connection.recv()
        except (EOFError, OSError):
            raise HorseDied(self.bury()) from None
        if isinstance(message, DeviceMemory):
            self.memory = message
            return None
        return message

    def kill(self) -> None:
        """Ends the process at once, if there is one."""
        if self.process is not None:
            self.process.kill()
        self.bury()

    def bury(self) -> str:
        """Waits for the end of a process that is about to end; how it ended."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.process is None:
            return "the work-horse is not running"
        try:
            status = self.process.wait(BURIAL_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return f"the work-horse was killed by signal {-status}" if status < 0 else f"the work-horse exited ({status})"
