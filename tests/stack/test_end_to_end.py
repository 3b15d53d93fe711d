"""From a prompt over HTTP to an MP4: gateway, Redis, RQ, worker and a real (tiny) model; and what may go wrong."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from tests.stack.live import LUMIERE, LiveStack, gone, run_lumiere

LONG = {"prompt": "a red ball bouncing on a beach", "num_inference_steps": 100, "seed": 1}
ENDLESS = {**LONG, "num_frames": 80}
"""For jobs that are cancelled or killed before their end."""
SHORT = {"prompt": "a blue star spinning", "num_inference_steps": 2, "seed": 2}

pytestmark = pytest.mark.timeout(900)


def submit(stack: LiveStack, request: dict[str, Any]) -> str:
    answer = stack.http.post("/v1/text-to-video", json=request)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def video(stack: LiveStack, video_id: str) -> dict[str, Any]:
    return dict(stack.http.get(f"/v1/videos/{video_id}").json())


def wait_until(stack: LiveStack, video_id: str, reached: Callable[[dict[str, Any]], bool], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = video(stack, video_id)
            if reached(found):
                return found
        except httpx.TransportError as error:  # the gateway restarts
            found = {"no answer": str(error)}
        assert time.monotonic() < deadline, f"{found}\n{stack.logs()}"
        time.sleep(0.05)


def is_running(found: dict[str, Any]) -> bool:
    return bool(found["status"] == "in_progress" and found["step"] > 0)


def is_completed(found: dict[str, Any]) -> bool:
    assert found["status"] not in ("failed", "cancelled"), found
    return bool(found["status"] == "completed")


def terminal_states(stack: LiveStack, video_id: str) -> list[str]:
    """Every terminal state that the job's event stream has seen, in order."""
    text = stack.http.get(f"/v1/videos/{video_id}/events", headers={"Last-Event-ID": "0-0"}).text
    states = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]
    return [state["status"] for state in states if state["status"] in ("completed", "failed", "cancelled")]


def decode(path: Path) -> tuple[str, str, float, int]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        context = stream.codec_context
        return context.name, f"{context.width}x{context.height}", float(stream.average_rate or 0), frames


@pytest.fixture
def stack(live_stack: LiveStack) -> LiveStack:
    return live_stack


def test_generate_saves_the_video_that_was_asked_for(stack: LiveStack, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    done = stack.run(
        *("generate", "text-to-video", "a red ball bouncing", "--seed", "7", "--steps", "2", "--num-frames", "12"),
        *("--fps", "8", "--output", str(output), "--json"),
    )

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == "completed"
    assert answer["seed"] == 7
    assert answer["file"] == str(output)
    assert decode(output) == ("h264", answer["size"], 8.0, 12)


def test_the_same_seed_gives_the_same_file(stack: LiveStack, tmp_path: Path) -> None:
    files = [tmp_path / "1.mp4", tmp_path / "2.mp4", tmp_path / "3.mp4"]
    for file, seed in zip(files, ("5", "5", "6"), strict=True):
        done = stack.run("generate", "a fish", "--seed", seed, "--steps", "2", "-o", str(file))
        assert done.returncode == 0, done.stderr

    first, second, third = (file.read_bytes() for file in files)
    assert first == second
    assert first != third


def test_progress_is_printed_line_by_line_without_a_terminal(stack: LiveStack, tmp_path: Path) -> None:
    done = stack.run("generate", "a kite", "--steps", "8", "-o", str(tmp_path / "k.mp4"))

    assert done.returncode == 0, done.stderr
    assert re.search(r"step \d+/8\b", done.stdout)
    assert f"saved {tmp_path / 'k.mp4'}" in done.stdout.replace("\n", "")


def test_jobs_shows_lists_watches_and_cancels(stack: LiveStack) -> None:
    running, following, waiting = (submit(stack, ENDLESS) for _ in range(3))
    wait_until(stack, running, is_running)

    assert "within one step" in stack.run("jobs", "cancel", running).stdout
    assert "is cancelled" in stack.run("jobs", "cancel", waiting).stdout
    stack.http.post(f"/v1/videos/{following}/cancel")
    assert json.loads(stack.run("jobs", "show", waiting, "--json").stdout)["status"] == "cancelled"
    watched = stack.run("jobs", "watch", running)
    assert watched.returncode == 1
    assert f"{running} cancelled" in watched.stderr
    assert terminal_states(stack, running) == ["cancelled"]
    listed = stack.run("jobs", "ls").stdout
    assert running in listed
    assert waiting in listed


def test_ctrl_c_cancels_the_job_if_asked_to(stack: LiveStack, tmp_path: Path) -> None:
    # tests that a shell runs in the background hand down an ignored SIGINT
    command = ["env", "--default-signal=INT", str(LUMIERE), "generate", LONG["prompt"]]
    command += ["--steps", "100", "--num-frames", "80", "--cancel-on-interrupt", "--url", stack.url]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        assert client.stdout is not None
        video_id = client.stdout.readline().split(",")[0]
        wait_until(stack, video_id, is_running)
        client.send_signal(signal.SIGINT)
        text = client.stdout.read()

    assert client.returncode == 130
    assert "Traceback" not in text
    assert wait_until(stack, video_id, lambda found: found["status"] == "cancelled")
    assert not list(tmp_path.iterdir())


def test_refusals_are_one_line_with_the_reason(stack: LiveStack, tmp_path: Path) -> None:
    refused = stack.run("generate", "a ball", "--size", "7x7", "-o", str(tmp_path / "x.mp4"))

    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "size" in refused.stderr
    assert stack.run("jobs", "show", "video_" + 26 * "a").returncode == 1


def test_a_second_stack_on_the_same_data_is_refused(stack: LiveStack) -> None:
    second = run_lumiere("serve", environment={**stack.environment, "LUMIERE_PORT": "0"}, timeout=60)

    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"process {stack.process.pid}" in second.stderr
    assert "LUMIERE_DATA_DIR" in second.stderr


def test_a_taken_port_is_named(stack: LiveStack, tmp_path: Path) -> None:
    second = run_lumiere("serve", environment={**stack.environment, "LUMIERE_DATA_DIR": str(tmp_path)}, timeout=60)

    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"port {stack.port}" in second.stderr
    assert "LUMIERE_PORT" in second.stderr


def test_a_killed_worker_is_replaced_and_its_job_done_once(stack: LiveStack) -> None:
    video_id = submit(stack, LONG)
    wait_until(stack, video_id, is_running)
    worker = stack.part("workers.main")
    family = [worker, *worker.children(recursive=True)]

    os.killpg(worker.pid, signal.SIGKILL)

    found = wait_until(stack, video_id, is_completed)
    assert found["attempt"] == 2
    assert terminal_states(stack, video_id) == ["completed"]
    assert gone(family)
    content = stack.http.get(f"/v1/videos/{video_id}/content")
    assert len(content.content) == found["output"]["bytes"]
    kept = {path.name for path in (stack.folder / "data").rglob(f"{video_id}/*")}
    assert kept == {"a2.mp4", "a2-thumbnail.webp", "a2-spritesheet.jpg"}


def test_a_killed_gateway_is_replaced_while_a_client_follows(stack: LiveStack, tmp_path: Path) -> None:
    command = [str(LUMIERE), "generate", LONG["prompt"], "--steps", "100", "--url", stack.url, "-o", "g.mp4"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        assert client.stdout is not None
        video_id = client.stdout.readline().split(",")[0]
        wait_until(stack, video_id, is_running)
        stack.part("uvicorn").kill()
        text = client.stdout.read()

    assert client.returncode == 0, text + stack.logs()
    assert decode(tmp_path / "g.mp4")[0] == "h264"


@pytest.fixture
def own_stack(tmp_path: Path, tiny_model: Path) -> Iterator[LiveStack]:
    """A stack, not yet started, for a test that stops and kills it."""
    stack = LiveStack(tmp_path, tiny_model)
    yield stack
    if stack.process.poll() is None:
        stack.process.kill()
        stack.process.wait()


def test_jobs_survive_every_way_of_stopping_and_nothing_is_left_behind(own_stack: LiveStack) -> None:
    """Ctrl-C, which drains; kill -9; and two Ctrl-C in a row, which do not wait for the drain."""
    stack = own_stack
    stack.environment["LUMIERE_DRAIN_SECONDS"] = "0.5"
    stack.start()
    jobs = [submit(stack, LONG), submit(stack, SHORT), submit(stack, SHORT)]
    wait_until(stack, jobs[0], is_running)
    processes = stack.descendants()
    assert len(processes) >= 4  # Redis, gateway, supervisor, work-horse

    assert stack.stop() == 0

    assert gone(processes)
    assert stack.output[-1] == "stopped\n"
    assert_not_running(stack)

    stack.environment["LUMIERE_DRAIN_SECONDS"] = "600"
    stack.start()
    for job in jobs:
        assert wait_until(stack, job, is_completed)
        assert terminal_states(stack, job) == ["completed"]
    killed = submit(stack, LONG)
    wait_until(stack, killed, is_running)
    processes = stack.descendants()

    stack.process.kill()
    stack.process.wait()

    assert gone(processes)
    assert_not_running(stack)

    stack.start()
    assert wait_until(stack, killed, is_completed)["attempt"] == 2
    wait_until(stack, submit(stack, ENDLESS), is_running)
    processes = stack.descendants()
    stack.interrupt()
    stack.wait_for_line("stopping worker")
    began = time.monotonic()

    stack.interrupt()

    assert stack.process.wait(60) == 0
    assert time.monotonic() - began < 30  # the drain alone would last 600 s
    assert gone(processes)


def assert_not_running(stack: LiveStack) -> None:
    with pytest.raises(httpx.ConnectError):
        stack.http.get("/livez")


def test_a_model_that_cannot_be_loaded_is_an_error_not_a_wait(tmp_path: Path, tiny_model: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    for weights in broken.rglob("*.safetensors"):
        weights.unlink()
    stack = LiveStack(tmp_path, broken)

    refused = run_lumiere("serve", environment=stack.environment, cwd=tmp_path)

    assert refused.returncode == 1
    assert "is failed" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_demo_makes_a_video_and_stops_what_it_started(tmp_path: Path, tiny_model: Path) -> None:
    environment = {**os.environ, "LUMIERE_MODEL_DIRS": str(tiny_model), "TMPDIR": "/tmp"}
    done = run_lumiere("demo", "--prompt", 'a ball\'s "bounce" for $5', environment=environment, cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert decode(tmp_path / "lumiere-demo.mp4")[0] == "h264"
    assert 'a ball\'s "bounce" for $5' in done.stdout
    assert str(tmp_path / "lumiere-demo.mp4") in done.stdout
    for stage in ("set-up", "start", "queue", "denois", "in all"):
        assert stage in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["lumiere-demo.mp4"]
