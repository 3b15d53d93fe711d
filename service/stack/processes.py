"""Child processes that are started together, restarted when they crash, and stopped in order.

Each part runs in a process group of its own, so that Ctrl-C in a terminal reaches only us, and the kernel ends it when
we are killed (PR_SET_PDEATHSIG, Linux), so that nothing is left behind even after `kill -9`.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

POLL_SECONDS = 0.1
HEALTHY_SECONDS = 60.0
"""A part that ran this long starts its next restart without delay."""
LONGEST_BACKOFF = 30.0
LARGEST_LOG_BYTES = 10_000_000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Part:
    """A program of the stack and how it is run."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    stop_seconds: float
    """How long it may take after SIGTERM before it is killed."""
    orphan_signal: signal.Signals = signal.SIGKILL
    """What it gets when we die without stopping it."""
    keep_open: tuple[int, ...] = ()
    """File descriptors that it inherits."""


@dataclass
class Child:
    """A part that runs, and its restarts so far."""

    part: Part
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0
    backoff: float = 0.0
    restart_at: float | None = field(default=None)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def terminate(self) -> None:
        if self.running:
            self.process.terminate()

    def kill(self) -> None:
        """Kill the process and whatever it left in its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP while entered: the first asks for an orderly stop, the second ends it."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        # Under nohup, a closed terminal is to be ignored. A shell that starts us in the background ignores SIGINT for
        # us, yet whoever sends one means it.
        wanted = (n for n in self.SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN)
        self.previous = {number: signal.signal(number, self.note) for number in wanted}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


class Processes:
    """The parts of one stack, in the order of their start."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report
        self.children: list[Child] = []

    def start(self, part: Part) -> Child:
        """Start a part; from now on `tend` restarts it when it exits."""
        child = Child(part, launch(part), time.monotonic())
        self.children.append(child)
        return child

    def tend(self) -> None:
        """Note which parts have exited and restart those whose backoff is over. Call this every `POLL_SECONDS`."""
        for child in self.children:
            now = time.monotonic()
            if child.restart_at is None and not child.running:
                healthy = now - child.started >= HEALTHY_SECONDS
                child.backoff = 0.0 if healthy else min(max(1.0, 2 * child.backoff), LONGEST_BACKOFF)
                # The first crash is healed at once; only repeated ones wait.
                delay = child.backoff if child.restarts and not healthy else 0.0
                child.restart_at = now + delay
                child.kill()
                self.report(f"{child.part.name} {ending(child.process.returncode)}; restarting it in {delay:.0f} s")
            if child.restart_at is not None and now >= child.restart_at:
                child.process, child.started, child.restart_at = launch(child.part), now, None
                child.restarts += 1

    def stop(self, at_once: Callable[[], bool]) -> None:
        """Stop the parts, last one first; as soon as `at_once()` is true the rest gets no time to finish."""
        for child in reversed(self.children):
            if not at_once() and child.running:
                self.report(f"stopping {child.part.name}")
            child.terminate()
            patience = time.monotonic() + child.part.stop_seconds
            while child.running and time.monotonic() < patience and not at_once():
                time.sleep(POLL_SECONDS / 5)
            child.kill()
        self.children.clear()


def launch(part: Part) -> subprocess.Popen[bytes]:
    """Start the program with its output appended to the log. Must run in the main thread: see `die_with`."""
    part.log.parent.mkdir(parents=True, exist_ok=True)
    if part.log.exists() and part.log.stat().st_size > LARGEST_LOG_BYTES:
        part.log.replace(part.log.with_suffix(".log.1"))
    with part.log.open("ab") as log:
        return subprocess.Popen(
            part.command,
            env=dict(part.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=part.keep_open,
            preexec_fn=die_with(os.getpid(), part.orphan_signal),
        )


def die_with(parent: int, death: signal.Signals) -> Callable[[], None]:
    """A function for the new process: the kernel shall send it `death` when the thread that started it ends."""

    def ask_kernel() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, int(death), 0, 0, 0)
            if os.getppid() != parent:  # the parent ended before the call above
                os._exit(1)

    return ask_kernel


def ending(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"exited with status {returncode}"


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 200 * lines))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""
