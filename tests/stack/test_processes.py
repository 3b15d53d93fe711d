"""Parts are restarted when they crash, stopped in order, and never left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from service.stack.processes import Interrupts, Part, Processes, tail


def part(name: str, folder: Path, script: str, stop_seconds: float = 10.0) -> Part:
    command = [sys.executable, "-u", "-c", textwrap.dedent(script)]
    return Part(name, command, os.environ, folder / f"{name}.log", stop_seconds)


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def never() -> bool:
    return False


OBEDIENT = """
    import signal, sys, time
    signal.signal(signal.SIGTERM, lambda *_: (print("bye", time.monotonic_ns()), sys.exit(0)))
    print("up")
    while True: time.sleep(0.05)
"""
STUBBORN = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up")
    while True: time.sleep(0.05)
"""


def test_a_killed_part_is_restarted_at_once(tmp_path: Path) -> None:
    said: list[str] = []
    processes = Processes(said.append)
    child = processes.start(part("sleeper", tmp_path, OBEDIENT))
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    child.process.wait()

    processes.tend()

    assert child.process.pid != first
    assert child.running
    assert said == ["sleeper was killed by SIGKILL; restarting it in 0 s"]
    processes.stop(never)


def test_a_part_that_keeps_crashing_waits_longer_each_time(tmp_path: Path) -> None:
    said: list[str] = []
    processes = Processes(said.append)
    child = processes.start(part("broken", tmp_path, "import sys; sys.exit(3)"))
    deadline = time.monotonic() + 20
    while child.restarts < 2 and time.monotonic() < deadline:
        processes.tend()
        time.sleep(0.02)
    wait_for(lambda: not child.running)
    processes.tend()
    processes.stop(never)

    delays = [line.rpartition("in ")[2] for line in said if "restarting" in line]
    assert delays == ["0 s", "2 s", "4 s"]
    assert "exited with status 3" in said[0]


def test_parts_are_stopped_last_one_first(tmp_path: Path) -> None:
    processes = Processes(lambda line: None)
    for name in ("redis", "gateway", "worker"):
        processes.start(part(name, tmp_path, OBEDIENT))
    logs = {name: tmp_path / f"{name}.log" for name in ("redis", "gateway", "worker")}
    wait_for(lambda: all("up" in tail(log) for log in logs.values()))

    processes.stop(never)

    stopped = {name: int(tail(log).split("bye ")[1]) for name, log in logs.items()}
    assert stopped["worker"] < stopped["gateway"] < stopped["redis"]


def test_a_part_that_ignores_sigterm_is_killed_after_its_time(tmp_path: Path) -> None:
    processes = Processes(lambda line: None)
    child = processes.start(part("stubborn", tmp_path, STUBBORN, stop_seconds=0.3))
    wait_for(lambda: "up" in tail(child.part.log))

    processes.stop(never)

    assert child.process.returncode == -signal.SIGKILL


def test_a_second_signal_stops_without_waiting(tmp_path: Path) -> None:
    with Interrupts() as interrupts:
        processes = Processes(lambda line: None)
        child = processes.start(part("stubborn", tmp_path, STUBBORN, stop_seconds=60))
        wait_for(lambda: "up" in tail(child.part.log))
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        began = time.monotonic()
        processes.stop(at_once=lambda: interrupts.count > 1)

    assert time.monotonic() - began < 5
    assert child.process.returncode == -signal.SIGKILL


def test_children_of_a_part_go_with_it(tmp_path: Path) -> None:
    script = """
        import subprocess, sys, time
        print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
        time.sleep(600)
    """
    processes = Processes(lambda line: None)
    child = processes.start(part("parent", tmp_path, script))
    wait_for(lambda: tail(child.part.log).strip().isdigit())
    grandchild = int(tail(child.part.log))

    processes.stop(never)

    wait_for(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_nothing_is_left_when_we_are_killed(tmp_path: Path) -> None:
    script = f"""
        import os, sys, time
        from pathlib import Path
        from service.stack.processes import Part, Processes
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = Processes(print).start(Part("sleeper", command, os.environ, Path({str(tmp_path)!r}) / "log", 1.0))
        print(child.process.pid, flush=True)
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert psutil.pid_exists(child)
        supervisor.kill()

    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
