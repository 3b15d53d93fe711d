"""The work-horse: a process that loads the models once and runs attempts until its supervisor ends it.

Started as `python -m workers.horse FD PARENT`, where FD is its end of the pipe. It never outlives its supervisor:
the kernel kills it (Linux), and the broken pipe ends it elsewhere.
"""

import ctypes
import hashlib
import importlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from service.jobs.contract import ErrorCode, JobResult, JobSpec
from service.jobs.models import ModelCard, read_catalogue
from service.storage import Storage, StorageError, StorageFull, output_key, still_key
from service.telemetry.logs import configure_logging
from workers.inputs import InputLost, Inputs, fetch_inputs
from workers.messages import (
    About,
    DeviceMemory,
    Done,
    Failed,
    LoadFailed,
    Order,
    Outcome,
    Ready,
    Run,
    SetUp,
    Stepped,
    Stop,
    Stopped,
)

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1


class OnStep(Protocol):
    """Called after each step and at the start of each stage; what it raises stops the run.

    preview: the video as it looks so far, a small WebP, or nothing.
    """

    def __call__(self, stage: str, step: int, steps: int, preview: bytes = b"") -> None: ...


class OnStepOfBatch(Protocol):
    """The same for the attempt at one place of a batch."""

    def __call__(self, place: int, stage: str, step: int, steps: int, preview: bytes = b"") -> None: ...


class StopRun(Exception):
    """The supervisor has asked to give up the attempt."""


class RunFailed(Exception):
    """A runtime could not make the video, for a reason that the job's error names."""

    def __init__(self, code: ErrorCode, message: str, *, retry: bool = False, broken: bool = False) -> None:
        super().__init__(message)
        self.outcome = Failed(code, message, retry=retry, broken=broken)


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """A finished video file, its stills, and the facts about it; or the weights of a style, at the spec's size."""

    path: Path
    thumbnail: Path | None = None
    spritesheet: Path | None = None
    width: int
    height: int
    num_frames: int
    fps: int
    dtype: str
    upscale: str
    prompt_tokens_used: int | None = None
    prompt_tokens_max: int | None = None
    prompt_truncated: bool = False
    timings: Mapping[str, float] = field(default_factory=dict)


class Runtime(Protocol):
    """What runs in the horse. Made with the model cards; that loads the models and warms them up."""

    device: str
    dtype: str

    def __init__(self, cards: Mapping[str, ModelCard]) -> None: ...

    def run(self, spec: JobSpec, inputs: Inputs, workdir: Path, on_step: OnStep, drawn: Any = None) -> Rendering:
        """Makes the video, or learns the style, of a spec and its inputs in `workdir`. Raises RunFailed, or what
        `on_step` raises. drawn: what `draw` has made of this spec.
        """
        ...

    def draw(self, specs: Sequence[JobSpec], on_step: OnStepOfBatch) -> Sequence[Any]:
        """Does the part of `run` that is quicker for several specs at once, which are alike. Raises as `run`."""
        ...

    def memory(self) -> DeviceMemory | None:
        """Of its device; None for one without a memory of its own."""
        ...


def serve(connection: Connection) -> None:
    """Loads, says Ready, and runs one attempt after the other until the pipe breaks."""
    setup = connection.recv()
    assert isinstance(setup, SetUp)
    started = time.monotonic()
    try:
        runtime, cards = load(setup)
        weights = tuple(digest_of_weights(card.folder) for card in cards.values())
        storage = Storage.open(setup.settings)
    except Exception as error:
        log.exception("the models cannot be loaded")
        connection.send(LoadFailed(f"{type(error).__name__}: {error}" if str(error) else repr(error)))
        return
    tell_memory(runtime, connection)
    connection.send(Ready(tuple(cards), weights, runtime.device, runtime.dtype, time.monotonic() - started))
    line = Line(connection)
    while True:
        message = connection.recv()
        if isinstance(message, Run):  # a Stop that comes after the end of its attempt is of no use
            broken = run_orders(message.orders, runtime, storage, Path(setup.workdir), line)
            if broken:
                return


def tell_memory(runtime: Runtime, connection: Connection) -> None:
    if (memory := runtime.memory()) is not None:
        connection.send(memory)


def load(setup: SetUp) -> tuple[Runtime, Mapping[str, ModelCard]]:
    module, _, name = setup.runtime.partition(":")
    make: type[Runtime] = getattr(importlib.import_module(module), name)
    cards = read_catalogue(setup.settings.model_dirs)
    return make(cards), cards


def digest_of_weights(folder: Path) -> str:
    """SHA-256 over the weights of a model folder, by file; its styles, which are none of the model itself, left out."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*/*.safetensors")):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


class Line:
    """What is said and heard about attempts while they run."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.stopped: set[str] = set()
        self.ended: set[str] = set()

    def begin(self) -> None:
        self.stopped.clear()
        self.ended.clear()

    def step(self, order: Order, stage: str, step: int, steps: int, preview: bytes = b"") -> None:
        """Says how far an attempt is. Raises StopRun once the supervisor has asked to give it up."""
        if order.name not in self.ended:
            self.connection.send(About(order.name, Stepped(stage, step, steps, preview)))
        while self.connection.poll():
            message = self.connection.recv()
            if isinstance(message, Stop):
                self.stopped.add(message.name)
        if order.name in self.stopped:
            raise StopRun

    def end(self, order: Order, outcome: Outcome) -> None:
        """Says how an attempt ended; only the first word counts."""
        if order.name not in self.ended:
            self.ended.add(order.name)
            self.connection.send(About(order.name, outcome))


def run_orders(orders: Sequence[Order], runtime: Runtime, storage: Storage, workdir: Path, line: Line) -> bool:
    """Makes and stores the videos of some attempts, and says what became of each; whether the device is broken."""
    line.begin()
    try:
        drawn = draw(orders, runtime, line) if len(orders) > 1 else [None]
    except RunFailed as failure:
        for order in orders:
            line.end(order, failure.outcome)
        return True
    for order, its in zip(orders, drawn, strict=True):
        if order.name in line.ended:
            continue
        outcome = run_attempt(order, its, runtime, storage, workdir, line)
        broken = isinstance(outcome, Failed) and outcome.broken
        if not broken:
            tell_memory(runtime, line.connection)
        line.end(order, outcome)
        if broken:
            return True
    return False


def draw(orders: Sequence[Order], runtime: Runtime, line: Line) -> Sequence[Any]:
    """What `Runtime.run` goes on with, for each attempt. None when it cannot be done together: each is then run alone,
    and one that fails takes no other down. Raises RunFailed when the device is broken.
    """

    def on_step(place: int, stage: str, step: int, steps: int, preview: bytes = b"") -> None:
        """An attempt that is given up leaves at once; what is drawn for it is thrown away."""
        try:
            line.step(orders[place], stage, step, steps, preview)
        except StopRun:
            line.end(orders[place], Stopped())
            if all(order.name in line.ended for order in orders):
                raise

    try:
        return runtime.draw([order.spec for order in orders], on_step)
    except StopRun:
        pass
    except (EOFError, BrokenPipeError):  # the supervisor is gone
        raise
    except RunFailed as failure:
        if failure.outcome.broken:
            raise
        log.warning("a batch of %d failed, each is run alone: %s", len(orders), failure)
    except Exception:
        log.exception("a batch of %d failed, each is run alone", len(orders))
    return [None] * len(orders)


def run_attempt(order: Order, drawn: Any, runtime: Runtime, storage: Storage, workdir: Path, line: Line) -> Outcome:
    """Makes and stores the video of one attempt; what became of it. drawn: what was made of it in a batch, or None."""

    def on_step(stage: str, step: int, steps: int, preview: bytes = b"") -> None:
        line.step(order, stage, step, steps, preview)

    folder = Path(tempfile.mkdtemp(prefix=f"{order.job_id}-", dir=workdir))
    try:
        inputs = fetch_inputs(order.spec, storage, folder / "inputs")
        rendering = runtime.run(order.spec, inputs, folder, on_step, drawn)
        on_step("store", 0, 0)
        started = time.monotonic()
        key = output_key(order.spec.task, order.job_id, order.attempt)
        digest = sha256(rendering.path)
        stills = store_stills(rendering, key, storage)
        storage.put_file(rendering.path, key)
        timings = {**rendering.timings, "store": time.monotonic() - started}
        return Done(
            JobResult(
                path=key,
                **stills,
                bytes=rendering.path.stat().st_size,
                sha256=digest,
                width=rendering.width,
                height=rendering.height,
                num_frames=rendering.num_frames,
                fps=rendering.fps,
                duration_seconds=rendering.num_frames / rendering.fps,
                timings={stage: round(seconds, 4) for stage, seconds in timings.items()},
                dtype=rendering.dtype,
                upscale=rendering.upscale,
                prompt_tokens_used=rendering.prompt_tokens_used,
                prompt_tokens_max=rendering.prompt_tokens_max,
                prompt_truncated=rendering.prompt_truncated,
            )
        )
    except StopRun:
        return Stopped()
    except RunFailed as error:
        return error.outcome
    except InputLost as error:
        return Failed(error.code, str(error))
    except StorageFull as error:
        return Failed(ErrorCode.STORAGE_FULL, str(error), retry=True)
    except StorageError as error:
        return Failed(ErrorCode.STORAGE_UNAVAILABLE, str(error), retry=True)
    except (EOFError, BrokenPipeError):  # the supervisor is gone
        raise
    except Exception as error:
        log.exception("attempt %d of %s failed", order.attempt, order.job_id)
        return Failed(ErrorCode.INTERNAL_ERROR, f"the model failed: {type(error).__name__}", retry=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def store_stills(rendering: Rendering, key: str, storage: Storage) -> dict[str, str]:
    """Stores the stills beside the video that will be under `key`; their keys by name."""
    stored = {}
    for name, path in (("thumbnail", rendering.thumbnail), ("spritesheet", rendering.spritesheet)):
        if path is not None:
            stored[name] = still_key(key, name, path.suffix)
            storage.put_file(path, stored[name])
    return stored


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when the supervisor ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def main() -> None:
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    # The supervisor decides when this process stops, also when a terminal signals the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure_logging("info")
    with Connection(descriptor) as connection:
        try:
            serve(connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


if __name__ == "__main__":
    # run under its own name: runtimes raise the RunFailed of workers.horse, which is not that of __main__
    importlib.import_module("workers.horse").main()
