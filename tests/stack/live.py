"""A stack as a user runs it: the command `lumiere serve` as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import httpx
import psutil

from service.stack.serve import free_port

LUMIERE = Path(sys.executable).parent / "lumiere"
START_SECONDS = 300.0
"""A busy machine may take long to import torch."""


class LiveStack:
    """`lumiere serve` on a free port, with its data in `folder`. What it prints is in `output`."""

    def __init__(self, folder: Path, model: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "LUMIERE_PORT": str(self.port),
            "LUMIERE_DATA_DIR": str(folder / "data"),
            "LUMIERE_MODEL_DIRS": str(model),
            "LUMIERE_LEASE_SECONDS": "5",
            **(settings or {}),
        }
        self.output: list[str] = []
        self.http = httpx.Client(base_url=self.url, timeout=30.0, trust_env=False)

    def start(self) -> "LiveStack":
        """Returns when the stack says that it is ready."""
        self.launch()
        self.wait_for_line("ready on")
        return self

    def launch(self) -> None:
        self.process = subprocess.Popen(
            [str(LUMIERE), "serve"],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C in a terminal reaches this group; see `interrupt`
        )
        self.output.clear()
        lines: Queue[str] = Queue()
        self.lines = lines
        stream = self.process.stdout
        assert stream is not None

        def read() -> None:
            for line in stream:
                self.output.append(line)
                lines.put(line)

        self.reader = Thread(target=read, daemon=True)
        self.reader.start()

    def wait_for_line(self, text: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if text in self.lines.get(timeout=0.2):
                    return
            except Empty:
                if self.process.poll() is not None:
                    break
        raise AssertionError(f"{text!r} was not printed; the stack said:\n{''.join(self.output)}\n{self.logs()}")

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does: SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def stop(self) -> int:
        """Stop in order; returns the exit code."""
        if self.process.poll() is None:
            self.interrupt()
        code = self.process.wait(180)
        self.reader.join(10)
        return code

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def part(self, mark: str) -> psutil.Process:
        """The child whose command line has `mark` in it."""
        for child in psutil.Process(self.process.pid).children():
            if mark in " ".join(child.cmdline()):
                return child
        raise AssertionError(f"no process {mark!r} among the parts")

    def logs(self) -> str:
        files = sorted((self.folder / "data" / "logs").glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)

    def run(self, *arguments: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """`lumiere ARGUMENTS` against this stack."""
        return run_lumiere(*arguments, environment={**self.environment, "LUMIERE_URL": self.url}, timeout=timeout)


def run_lumiere(
    *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 300.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LUMIERE), *arguments],
        env=dict(environment if environment is not None else os.environ),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def gone(processes: list[psutil.Process], seconds: float = 60.0) -> bool:
    """True once none of them runs any more."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive if process.is_running())
