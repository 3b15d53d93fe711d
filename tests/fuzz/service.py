"""A gateway on loopback, and a worker's side that soon ends every job, so that a fuzzer meets all states of a video."""

import asyncio
import contextlib
import itertools
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import redis

from service.access.keys import ApiKeys
from service.access.scopes import DEFAULT_SCOPES, Scope
from service.api.app import create_app
from service.jobs.connection import connect
from service.jobs.contract import WorkerState
from service.jobs.keys import QueueKeys
from service.settings import Settings
from tests.api.gateway import CARD, MODEL, Bench, listening, write_card
from tests.redis_server import RedisServer

SCHEMATHESIS = Path(sys.executable).parent / "st"
TASKS = ["text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize"]
FILM = b"\x00\x00\x00\x18ftypisom" + bytes(200)
"""Enough of an MP4 for a gateway, which never decodes."""


def fuzz(url: str, *options: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs schemathesis, with all its checks, on the gateway at `url`."""
    command = [str(SCHEMATHESIS), "run", f"{url}/openapi.json", "--checks", "all", *options]
    with tempfile.TemporaryDirectory() as folder:  # it leaves files where it runs
        return subprocess.run(command, cwd=folder, capture_output=capture, text=True, check=False)


@contextlib.contextmanager
def service_under_fuzz(*, keys: bool = False) -> Iterator[list[str]]:
    """A gateway whose videos come to an end: its address, and the options that bring a key where it asks for `keys`."""
    with tempfile.TemporaryDirectory(prefix="lumiere-") as name:
        folder = Path(name)
        server = RedisServer(folder)
        server.start()
        card = write_card(folder / "model", {**CARD, "tasks": TASKS, "styles": ["watercolor"]})
        options = {"redis_url": server.url, "data_dir": folder / "data", "model_dirs": [card]}
        if keys:
            options |= {"auth": "keys", "key_requests_per_minute": 0, "key_active_jobs": 0}
        chosen = Settings.model_validate(options)
        try:
            with listening(create_app(chosen)) as url, worker_side(chosen):
                yield [url, "--header", asyncio.run(header_with_key(chosen))] if keys else [url]
        finally:
            server.stop()


async def header_with_key(settings: Settings) -> str:
    """`Authorization` with a key that may do all that the document describes."""
    assert settings.redis_url is not None
    redis = connect(settings.redis_url)
    _, token = await ApiKeys(redis).create(scopes=[*DEFAULT_SCOPES, Scope.PRIORITY])
    await redis.aclose()
    return f"Authorization: Bearer {token}"


@contextlib.contextmanager
def worker_side(settings: Settings) -> Iterator[None]:
    """Most jobs are completed, some fail; a few are cancelled by then."""
    stop = threading.Event()
    bench = Bench(settings)
    queue = QueueKeys(bench.attempts.policy.queue_of(MODEL))

    def work() -> None:
        for number in itertools.count():
            if number % 20 == 0:
                bench.announce(WorkerState.READY)
            if stop.wait(0.05):
                return
            waiting = bench.redis.zrange(queue.waiting, 0, -1)
            for place, video_id in enumerate(waiting):
                end(bench, str(video_id), fails=place % 5 == 4)

    def end(bench: Bench, video_id: str, *, fails: bool) -> None:
        job = bench.attempts.claim(video_id, 1, "bench")
        if job is None:
            return  # cancelled or deleted by now
        with contextlib.suppress(AssertionError, redis.RedisError):
            bench.fail(job) if fails else bench.complete(job, FILM)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        bench.close()
