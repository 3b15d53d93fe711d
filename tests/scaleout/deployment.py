"""A deployment over several machines, in small: gateways, workers, one Redis and an S3 server, each a real process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import redis

from service.jobs import keys
from service.jobs.connection import connect_blocking
from service.jobs.contract import JobState
from service.settings import Settings
from service.stack.serve import free_port, gateway_command
from tests.model_folder import write_model_folder

START_SECONDS = 60.0
BUCKET = "videos"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_REGION": "us-east-1"}


class Part:
    """One process that can be signalled and started anew."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.words = words
        self.environment = {**os.environ, **environment}
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(self.words, env=self.environment, stdout=output, stderr=output)

    def end(self, how: signal.Signals) -> None:
        """Sends a signal and waits for the end."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(START_SECONDS)


class S3Server:
    """moto's server with an empty bucket."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        words = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        self.part = Part(words, {}, folder / "s3.log")

    def start(self) -> None:
        self.part.start()
        wait_for(lambda: answers(httpx.put, f"{self.url}/{BUCKET}"), "the S3 server")

    def stop(self) -> None:
        self.part.end(signal.SIGKILL)

    def settings(self) -> dict[str, str]:
        return {"storage_url": f"s3://{BUCKET}/deployment", "storage_endpoint": self.url}


class Deployment:
    """Gateways, and as many workers with the scripted runtime (`tests.workers.scripted`).

    worker_redis_url: where the workers find Redis, if not where the gateways do.
    """

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        storage: Mapping[str, str],
        *,
        parts: int = 2,
        worker_redis_url: str | None = None,
    ) -> None:
        self.redis: redis.Redis = connect_blocking(redis_url)
        common: dict[str, Any] = {
            "redis_url": redis_url,
            "data_dir": folder / "data",
            "model_dirs": [write_model_folder(folder / "model")],
            "lease_seconds": 2,
            "max_attempts": 10,
            "drain_seconds": 5,
            **storage,
        }
        self.settings = Settings(**common)
        self.gateways = [Gateway(self.settings, folder / f"gateway-{number}.log") for number in range(parts)]
        of_worker = self.settings.model_copy(update={"redis_url": worker_redis_url or redis_url})
        words = [sys.executable, "-m", "tests.workers.run_worker", of_worker.model_dump_json(), "60"]
        self.workers = [Part(words, CREDENTIALS, folder / f"worker-{number}.log") for number in range(parts)]

    def start(self) -> None:
        for part in (*self.gateways, *self.workers):
            part.start()
        for gateway in self.gateways:
            gateway.wait()
        self.wait_for_workers()

    def stop(self) -> None:
        for part in (*self.gateways, *self.workers):
            if part.process is not None and part.process.poll() is None:
                part.end(signal.SIGKILL)
        for gateway in self.gateways:
            gateway.http.close()
        self.redis.close()

    def wait_for_workers(self) -> None:
        """Returns when every worker that runs is ready."""
        serving = keys.QueueKeys(keys.queue_of_model(self.settings.queue_name, "lumiere-mini")).workers
        names = [f"-{part.process.pid}-" for part in self.workers if part.process is not None]

        def all_ready() -> bool:
            ready: Any = self.redis.zrange(serving, 0, -1)
            return all(any(name in worker for worker in ready) for name in names)

        wait_for(all_ready, "the workers")

    def terminal_rows(self) -> dict[str, int]:
        """How many rows of the outbox each job has: each stands for one terminal transition."""
        rows: Any = self.redis.xrange(keys.OUTBOX)
        counts: dict[str, int] = {}
        for _, row in rows:
            counts[row["job"]] = counts.get(row["job"], 0) + 1
        return counts

    def terminal_events(self, job_id: str) -> int:
        rows: Any = self.redis.xrange(keys.events(job_id))
        return sum(f'"{state}"' in row["data"] for _, row in rows for state in JobState if state.terminal)


class Gateway(Part):
    def __init__(self, settings: Settings, log: Path) -> None:
        own = settings.model_copy(update={"port": free_port()})
        self.url = f"http://127.0.0.1:{own.port}"
        super().__init__(gateway_command(own), {**environment_of(own), **CREDENTIALS}, log)
        self.http = httpx.Client(base_url=self.url, timeout=30.0, trust_env=False)

    def wait(self) -> None:
        wait_for(lambda: answers(httpx.get, f"{self.url}/livez"), "the gateway")


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables of the settings that a deployment chooses."""
    chosen = settings.model_dump(exclude={"model_dirs"}, exclude_unset=True)
    variables = {f"LUMIERE_{name.upper()}": str(value) for name, value in chosen.items()}
    return {**variables, "LUMIERE_MODEL_DIRS": os.pathsep.join(map(str, settings.model_dirs))}


def answers(ask: Any, url: str) -> bool:
    try:
        return bool(ask(url, trust_env=False, timeout=5.0).status_code == 200)
    except httpx.TransportError:
        return False


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
