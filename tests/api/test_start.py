"""The gateway starts fast, without torch, or says in one line why it does not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from service.stack.serve import free_port
from tests.api.gateway import write_card

IMPORTS = """
import sys
from service.api.app import create_app
from service.settings import load_settings
create_app(load_settings())
heavy = {"torch", "diffusers", "transformers", "numpy", "model", "workers", "rq", "PIL", "av"}
found = sorted(heavy & {name.partition(".")[0] for name in sys.modules})
assert not found, found
"""


def environment(**settings: str) -> dict[str, str]:
    return {**os.environ, **{f"LUMIERE_{name.upper()}": value for name, value in settings.items()}}


def python(root: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment(**settings), capture_output=True, text=True, timeout=150
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_card(tmp_path / "model")


def test_nothing_heavy_is_imported(root: Path, model: Path) -> None:
    done = python(root, "-c", IMPORTS, redis_url="unix:///nowhere", model_dirs=str(model))

    assert done.returncode == 0, done.stderr


def test_answers_soon_after_its_start(root: Path, model: Path, tmp_path: Path, redis_url: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "service.api.app:from_environment", "--port", str(port)]
    settings = {"redis_url": redis_url, "model_dirs": str(model), "data_dir": str(tmp_path / "data")}
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=root, env=environment(**settings), stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            while True:
                try:
                    answer = client.get("/livez")
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    assert time.monotonic() - started < 120
                    time.sleep(0.02)
            used = psutil.Process(process.pid).cpu_times()
            assert answer.status_code == 200
            # The promise is 2 s on a machine of its own; tests share theirs, so they count the work, with some slack.
            assert used.user + used.system < 4
            assert client.post("/v1/text-to-video", json={"prompt": "a ball"}).status_code == 202
    finally:
        process.terminate()
        assert process.wait(60) in (0, -15)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "LUMIERE_REDIS_URL"),
        ({"redis_url": "http://x"}, "LUMIERE_REDIS_URL"),
        ({"redis_url": "unix:///nowhere", "model_dirs": "/nowhere"}, "/nowhere"),
        ({"redis_url": "unix:///nowhere", "data_dir": "/dev/null/data"}, "/dev/null/data"),
        ({"redis_url": "unix:///nowhere", "max_queued_jobs": "0"}, "LUMIERE_MAX_QUEUED_JOBS"),
    ],
)
def test_bad_settings_are_one_clear_line(root: Path, model: Path, settings: dict[str, str], reason: str) -> None:
    call = "from service.api.app import from_environment; from_environment()"
    done = python(root, "-c", call, **{"model_dirs": str(model), **settings})

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("lumiere gateway: ")
    assert reason in done.stderr
