"""The command `lumiere` starts fast, without torch, and its errors are one clear line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.client import Event, server_sent_events
from service.cli.main import task_and_prompt
from service.cli.progress import clock
from tests.stack.live import run_lumiere


def test_it_loads_neither_torch_nor_the_model_nor_the_workers() -> None:
    program = "import sys, service.cli.main; print([m for m in sys.modules if m.split('.')[0] in {'torch', 'diffusers', 'transformers', 'model', 'workers'}])"  # noqa: E501
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


def test_the_version_is_printed() -> None:
    assert run_lumiere("--version").stdout.startswith("lumiere 0.")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (["generate"], {}, 2, "Missing argument"),
        (["generate", "a", "red", "ball"], {}, 2, "in quotes"),
        (["generate", "a", "--seed", "x"], {}, 2, "--seed"),
        (["generate", "a", "-o", "/nowhere/x.mp4"], {}, 2, "/nowhere"),
        (["fly"], {}, 2, "fly"),
        (["gateway"], {}, 2, "LUMIERE_REDIS_URL"),
        (["worker"], {}, 2, "LUMIERE_REDIS_URL"),
        (["serve"], {"LUMIERE_PORT": "http"}, 2, "LUMIERE_PORT"),
        (["serve"], {"LUMIERE_MODEL_DIRS": "/nowhere"}, 1, "/nowhere"),
        (["generate", "a", "--url", "http://127.0.0.1:9"], {}, 1, "http://127.0.0.1:9"),
        (["jobs", "ls"], {"LUMIERE_URL": "http://127.0.0.1:9"}, 1, "http://127.0.0.1:9"),
        (["jobs", "show", "../../etc"], {}, 1, "not a video id"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], environment: dict[str, str], code: int, words: str, tmp_path: Path
) -> None:
    failed = run_lumiere(*arguments, environment={**os.environ, **environment}, cwd=tmp_path)

    assert failed.returncode == code
    assert len(failed.stderr.splitlines()) == 1, failed.stderr
    assert failed.stderr.startswith("lumiere")
    assert words in failed.stderr


def test_a_redis_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    from tests.stack.live import free_port

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "lumiere.json").write_text(
        '{"id": "m", "tasks": ["text-to-video"], "upscale": "none",'
        ' "defaults": {"num_frames": 8, "fps": 8, "size": "64x64", "num_inference_steps": 1, "guidance_scale": 1.0},'
        ' "limits": {"num_frames": [8, 8], "fps": [8, 8], "sizes": ["64x64"], "num_inference_steps": [1, 1],'
        ' "guidance_scale": [1.0, 1.0], "prompt_characters": 100}}'
    )
    environment = {
        **os.environ,
        "LUMIERE_MODEL_DIRS": str(tmp_path / "model"),
        "LUMIERE_REDIS_URL": "redis://user:secret@127.0.0.1:9/0",
        "LUMIERE_DATA_DIR": str(tmp_path / "data"),
        "LUMIERE_PORT": str(free_port()),
    }

    failed = run_lumiere("serve", environment=environment)

    assert failed.returncode == 1
    assert "user:***@127.0.0.1:9" in failed.stderr
    assert "secret" not in failed.stderr


def test_a_task_may_be_left_out() -> None:
    assert task_and_prompt(["a red ball"]) == ("text-to-video", "a red ball")
    assert task_and_prompt(["text-to-video", "a red ball"]) == ("text-to-video", "a red ball")


def test_server_sent_events_are_read_as_the_standard_says() -> None:
    text = (
        'retry: 1000\n\n: ping\n\nid: 1-0\nevent: state\ndata: {"a":\ndata: 1}\n\nid:2-0\ndata:{}\n\nevent: cut off\n'
    )

    assert list(server_sent_events(iter(text.split("\n")))) == [
        Event("1-0", "state", {"a": 1}),
        Event("2-0", "message", {}),
    ]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75.2, "1:15"), (3661, "1:01:01"), (-1, "0:00")])
def test_times_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert clock(seconds) == text
