"""How fast jobs are accepted, durably, beside BentoML's tasks and a job server that keeps its jobs in a dictionary.

    python -m benchmarks.accept

The three servers run at once, one process each, and are loaded in turn, round after round, so that a machine that slows
down slows all alike; the medians of the rounds are compared. `max` is what 16 connections can get through; the p99 is
that of requests which arrive at a constant rate of half that server's own maximum. Only Lumiere's jobs are on disk
(Redis, append-only file synced every second) when they are answered. `CPU each` is what a job costs the processes of a
server, Redis included; it hardly depends on what else the machine does. BentoML is installed into a folder of its own,
`runs/bentoml`, on first use.

Then, of Lumiere alone: how long after the end of a job its followers see it, and where the job of one key comes in the
queue when another key has sent a thousand before it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.load import Connection, Load, arrive, post, saturate
from service.access.keys import ApiKeys
from service.access.scopes import DEFAULT_SCOPES
from service.jobs import keys
from service.jobs.attempts import Attempts
from service.jobs.connection import connect, connect_blocking
from service.jobs.contract import JobResult
from service.jobs.policy import JobPolicy
from service.settings import Settings
from service.stack.redis_server import answers, command, find_binary
from service.stack.serve import free_port, gateway_command

BENTOML = "bentoml==1.4.39"
ROOT = Path(__file__).resolve().parent.parent
BODY = json.dumps({"prompt": "a red car driving on a mountain road", "seed": 7, "num_frames": 80}).encode()
CONNECTIONS = 16
START_SECONDS = 120.0
PROCESSES = {"lumiere": ("gateway", "redis"), "in memory": ("in-memory",), "bentoml": ("bentoml",)}


started: dict[str, psutil.Process] = {}
"""The processes that run, by name."""


def family(name: str) -> list[psutil.Process]:
    """A process and all below it."""
    return [started[name], *started[name].children(recursive=True)]


def cpu_seconds(*names: str) -> float:
    """What these processes and their children have used up so far."""
    times = [process.cpu_times() for name in names for process in family(name)]
    return sum(each.user + each.system for each in times)


@contextlib.contextmanager
def running(words: list[str], environment: dict[str, str], folder: Path, name: str) -> Iterator[None]:
    """A process in `folder`, killed with its children at the end; what it says goes into a file."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(words, env={**os.environ, **environment}, cwd=folder, stdout=log, stderr=log)
    started[name] = psutil.Process(process.pid)
    try:
        yield
    finally:
        for each in family(name):
            each.kill()
        started.pop(name)
        process.wait()


def wait_for(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            sys.exit(f"{what} did not start")
        time.sleep(0.1)


def listens(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The address of a Redis set up as `lumiere serve` sets up its own."""
    socket = folder / "redis.sock"
    with running(list(map(str, command(find_binary(), socket, folder))), {}, folder, "redis"):
        url = f"unix://{socket}"
        wait_for(lambda: answers(url) is None, "Redis")
        yield url


@contextlib.contextmanager
def gateway(redis_url: str, folder: Path, **settings: str) -> Iterator[str]:
    port = free_port()
    values = {
        "redis_url": redis_url,
        "data_dir": str(folder / "data"),
        "max_queued_jobs": "1000000",
        "log_level": "warning",
        **settings,
    }
    environment = {f"LUMIERE_{name.upper()}": value for name, value in values.items()}
    own = Settings(port=port, log_level="warning")
    with running(gateway_command(own), {**environment, "PYTHONPATH": str(ROOT)}, folder, "gateway"):
        wait_for(lambda: listens(port), "the gateway")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def in_memory(folder: Path) -> Iterator[str]:
    port = free_port()
    words = [sys.executable, "-m", "uvicorn", "benchmarks.peers.in_memory:app", "--port", str(port)]
    words += ["--no-access-log", "--log-level", "warning"]
    with running(words, {"PYTHONPATH": str(ROOT)}, folder, "in-memory"):
        wait_for(lambda: listens(port), "the server in memory")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def bentoml(environment: Path, folder: Path) -> Iterator[str]:
    if not (environment / "bin" / "bentoml").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(environment / "bin" / "pip"), "install", "-q", BENTOML], check=True)
    port = free_port()
    words = [str(environment / "bin" / "bentoml"), "serve", "bento:Videos", "--port", str(port)]
    words += ["--host", "127.0.0.1", "--working-dir", str(ROOT / "benchmarks" / "peers")]
    quiet = {"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "true", "PYTHONPATH": ""}
    with running(words, quiet, folder, "bentoml"):
        wait_for(lambda: listens(port), "BentoML")
        yield f"http://127.0.0.1:{port}"


async def measure_accept(urls: dict[str, tuple[str, str]], rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Medians over the rounds, by server: requests per second at most, and ms at half of that."""
    requests = {name: (url, post(url, path, BODY)) for name, (url, path) in urls.items()}
    for url, request in requests.values():
        await saturate(url, request, 1.0, 4)
    full: dict[str, list[Load]] = {name: [] for name in urls}
    half: dict[str, list[Load]] = {name: [] for name in urls}
    cpu: dict[str, list[float]] = {name: [] for name in urls}
    for turn in range(rounds):
        order = list(urls)[turn % len(urls) :] + list(urls)[: turn % len(urls)]
        for name in order:
            url, request = requests[name]
            before = cpu_seconds(*PROCESSES[name])
            full[name].append(await saturate(url, request, seconds, CONNECTIONS))
            spent = cpu_seconds(*PROCESSES[name]) - before
            cpu[name].append(spent * 1000 / len(full[name][-1].milliseconds))
            half[name].append(await arrive(url, request, seconds, full[name][-1].rate / 2))
            if refused := full[name][-1].refused + half[name][-1].refused:
                sys.exit(f"{name} refused {len(refused)} requests, the first with {refused[0].decode()}")
    return {
        name: {
            "max_per_second": round(statistics.median(load.rate for load in full[name]), 1),
            "p50_ms_at_max": round(statistics.median(load.quantile(0.5) for load in full[name]), 2),
            "p50_ms_at_half": round(statistics.median(load.quantile(0.5) for load in half[name]), 2),
            "cpu_ms_each": round(statistics.median(cpu[name]), 2),
            "p99_ms_at_half": round(statistics.median(load.quantile(0.99) for load in half[name]), 2),
        }
        for name in urls
    }


async def measure_seen(url: str, redis_url: str, jobs: int, at_once: int) -> dict[str, float]:
    """Milliseconds from the moment when a worker ends a job until a follower over HTTP has read of it."""
    redis = connect_blocking(redis_url)
    attempts = Attempts(redis, JobPolicy())
    taken: list[float] = []

    async def one() -> None:
        connection = await Connection.open(url)
        _, body = await connection.send(post(url, "/v1/text-to-video", BODY))
        await connection.close()
        job = attempts.claim(json.loads(body)["id"], 1, "benchmark")
        assert job is not None
        stream = await Connection.open(url)
        stream.writer.write(f"GET /v1/videos/{job.id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await stream.reader.readuntil(b'"in_progress"')
        await asyncio.sleep(0.05)
        spec = job.spec
        result = JobResult(
            path=f"videos/{job.id}/a1.mp4",
            bytes=1,
            sha256="0" * 64,
            width=spec.width,
            height=spec.height,
            num_frames=spec.num_frames,
            fps=spec.fps,
            duration_seconds=5.0,
        )
        began = time.perf_counter()
        attempts.complete(job, result)
        await stream.reader.readuntil(b'"completed"')
        taken.append((time.perf_counter() - began) * 1000)
        await stream.close()

    for _ in range(jobs // at_once):
        await asyncio.gather(*(one() for _ in range(at_once)))
    redis.close()
    load = Load(0.0, taken, [])
    return {"p50_ms": round(load.quantile(0.5), 2), "p99_ms": round(load.quantile(0.99), 2), "jobs": len(taken)}


async def measure_flood(url: str, redis_url: str, jobs: int) -> dict[str, float]:
    """One key sends `jobs` jobs at once, and while they are sent another key one job after the other."""
    redis = connect(redis_url)
    tokens = []
    for name in ("flood", "other"):
        _, token = await ApiKeys(redis).create(name=name, owner=name, scopes=DEFAULT_SCOPES)
        tokens.append(token)
    flooding, other = (post(url, "/v1/text-to-video", BODY, f"Authorization: Bearer {token}\r\n") for token in tokens)
    left = jobs
    positions: list[int] = []
    taken: list[float] = []

    async def flood() -> None:
        nonlocal left
        connection = await Connection.open(url)
        while left > 0:
            left -= 1
            status, body = await connection.send(flooding)
            assert status == 202, body
        await connection.close()

    floods = [asyncio.create_task(flood()) for _ in range(CONNECTIONS)]
    connection = await Connection.open(url)
    while left > 0:
        began = time.perf_counter()
        status, body = await connection.send(other)
        taken.append((time.perf_counter() - began) * 1000)
        assert status == 202, body
        await asyncio.sleep(0.05)
    await asyncio.gather(*floods)
    await connection.send(other)
    queue = keys.QueueKeys(JobPolicy().queue_of("lumiere-mini"))
    for name in await redis.lrange(queue.rq_list, 0, -1):  # the order in which workers take them
        job_id, _ = keys.split_attempt_name(name)
        positions.append(int(await redis.hget(keys.job(job_id), "owner") == "other"))
    await redis.aclose()
    places = [place for place, others in enumerate(positions) if others]
    return {
        "flood": jobs,
        "jobs_of_the_other_key": len(places),
        "most_flood_jobs_between_two_of_its": max(b - a - 1 for a, b in zip([-1, *places], places, strict=False)),
        "its_accept_p99_ms": round(Load(0.0, taken, 0).quantile(0.99), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of the two loads of a server in a round")
    parser.add_argument("--bentoml", type=Path, default=ROOT / "runs" / "bentoml", help="its environment")
    parser.add_argument("--without-bentoml", action="store_true")
    arguments = parser.parse_args()

    with contextlib.ExitStack() as parts:
        enter = parts.enter_context
        folder = Path(enter(tempfile.TemporaryDirectory(prefix="lumiere-")))
        redis_url = enter(redis_server(folder))
        urls = {
            "lumiere": (enter(gateway(redis_url, folder)), "/v1/text-to-video"),
            "in memory": (enter(in_memory(folder)), "/v1/text-to-video"),
        }
        if not arguments.without_bentoml:
            urls["bentoml"] = (enter(bentoml(arguments.bentoml, folder)), "/text_to_video/submit")
        found: dict[str, Any] = {"accept": asyncio.run(measure_accept(urls, arguments.rounds, arguments.seconds))}
    tell_accept(found["accept"])
    with alone() as (url, redis_url):
        found["seen"] = asyncio.run(measure_seen(url, redis_url, 400, 20))
    print(f"a job's end is seen by SSE after p50 {found['seen']['p50_ms']} ms, p99 {found['seen']['p99_ms']} ms")
    with alone(auth="keys", key_requests_per_minute="0", key_active_jobs="0") as (url, redis_url):
        flood = found["flood"] = asyncio.run(measure_flood(url, redis_url, 1000))
    print(
        f"flood of {flood['flood']} jobs: never more than {flood['most_flood_jobs_between_two_of_its']} of them before"
    )
    print(f"a job of another key, whose requests were answered with p99 {flood['its_accept_p99_ms']} ms")
    print(json.dumps(found))


@contextlib.contextmanager
def alone(**settings: str) -> Iterator[tuple[str, str]]:
    """A gateway on a Redis of its own: the addresses of both."""
    with contextlib.ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="lumiere-")))
        redis_url = parts.enter_context(redis_server(folder))
        yield parts.enter_context(gateway(redis_url, folder, **settings)), redis_url


def tell_accept(rows: dict[str, dict[str, float]]) -> None:
    print(
        f"{'server':12} {'max/s':>8} {'p50 at max':>11} {'p50 at half':>12} {'p99 at half':>12}  {'CPU each':>8}  (ms)"
    )
    for name, row in rows.items():
        print(f"{name:12} {row['max_per_second']:8.0f} {row['p50_ms_at_max']:11.2f} ", end="")
        print(f"{row['p50_ms_at_half']:12.2f} {row['p99_ms_at_half']:12.2f}  {row['cpu_ms_each']:8.2f}", flush=True)
    for name, row in rows.items():
        if name != "lumiere":
            print(f"{rows['lumiere']['max_per_second'] / row['max_per_second']:.2f} times the rate of {name}")


if __name__ == "__main__":
    main()
