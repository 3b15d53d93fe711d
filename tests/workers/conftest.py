"""Workers with the scripted runtime as real processes, on a real Redis, with a reaper beside them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from service.jobs.connection import connect
from service.jobs.policy import JobPolicy
from service.jobs.reaper import run_reaper
from service.jobs.record import JobRecords
from service.settings import Settings
from tests.jobs.conftest import blocking, redis_server, redis_url
from tests.model_folder import write_model_folder
from tests.redis_server import RedisServer

__all__ = ["blocking", "redis_server", "redis_url"]

StartWorker = Callable[..., "WorkerProcess"]


class WorkerProcess:
    """A worker of `tests.workers.run_worker`."""

    def __init__(self, settings: Settings, log: Path, load_retry_seconds: float) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.workers.run_worker", settings.model_dump_json(), str(load_retry_seconds)],
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def horses(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def wait(self, seconds: float = 60) -> int:
        return self.process.wait(seconds)


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    return fault_settings(tmp_path, redis_url)


def fault_settings(folder: Path, redis_url: str) -> Settings:
    return Settings(
        redis_url=redis_url,
        data_dir=folder / "data",
        model_dirs=[write_model_folder(folder / "model")],
        lease_seconds=2,
        max_attempts=2,
        stall_seconds=2,
        cancel_grace_seconds=0.5,
        drain_seconds=5,
    )


SHARED_QUEUE = "shared"


class SharedWorker:
    """One worker for all tests that leave it alive; Redis is emptied under it between them."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.settings = fault_settings(folder, redis_url).model_copy(update={"queue_name": SHARED_QUEUE})
        self.log = folder / "worker.log"
        self.process: WorkerProcess | None = None

    def start(self) -> WorkerProcess:
        """The worker, started anew if a test that failed has ended it."""
        if self.process is None or self.process.process.poll() is not None:
            self.process = WorkerProcess(self.settings, self.log, load_retry_seconds=60)
        return self.process


@pytest.fixture(scope="session")
def shared(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedWorker]:
    shared = SharedWorker(tmp_path_factory.mktemp("shared"), redis_server.url)
    yield shared
    if shared.process is not None:
        shared.process.kill()


@pytest.fixture
def shared_settings(shared: SharedWorker, redis_url: str) -> Settings:
    return shared.settings


@pytest.fixture
def worker(shared: SharedWorker, redis_url: str) -> Iterator[WorkerProcess]:
    begin = shared.log.stat().st_size if shared.log.exists() else 0
    yield shared.start()
    print(shared.log.read_text()[begin:])


@pytest_asyncio.fixture
async def records(settings: Settings, request: pytest.FixtureRequest, patience: None) -> AsyncIterator[JobRecords]:
    """Records with a reaper that runs, as in a gateway; on the shared worker's queue for tests that ask for it."""
    assert settings.redis_url is not None
    policy = JobPolicy(
        queue_name=SHARED_QUEUE if "worker" in request.fixturenames else settings.queue_name,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        backoff_seconds=(0.1, 0.2, 0.4),
        reap_interval_seconds=0.1,
        redispatch_grace_seconds=1.0,
    )
    records = JobRecords(connect(settings.redis_url), policy)
    stop = asyncio.Event()
    reaper = asyncio.create_task(run_reaper(records, stop))
    yield records
    stop.set()
    await reaper
    await records.close()


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[StartWorker]:
    workers: list[WorkerProcess] = []

    def start(load_retry_seconds: float = 60, **changes: object) -> WorkerProcess:
        log = tmp_path / f"worker-{len(workers)}.log"
        worker = WorkerProcess(settings.model_copy(update=changes), log, load_retry_seconds)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        with suppress(ProcessLookupError):
            worker.signal(signal.SIGCONT)
        worker.kill()
        print(worker.log.read_text())  # shown by pytest when the test fails
