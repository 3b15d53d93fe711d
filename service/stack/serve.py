"""The whole service on one machine: Redis, the gateway and workers as child processes (`lumiere serve`)."""

import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from service.jobs.models import CatalogueError, read_catalogue
from service.settings import METRICS_FOLDER, Settings
from service.stack import redis_server
from service.stack.data_folder import DataFolderInUse, forget_redis, hold, note_redis
from service.stack.processes import POLL_SECONDS, Interrupts, Part, Processes, tail

START_SECONDS = 900.0
"""Loading and warming up a large model takes minutes."""
CRASHES_BEFORE_GIVING_UP = 3
MODEL_UNUSABLE = re.compile(r"\bis failed\b")
"""How `/readyz` words it that a worker could not load its models."""
GATEWAY_STOP_SECONDS = 10.0
HEALTH_SECONDS = 30
"""For which a process of a gateway may be silent before uvicorn replaces it."""
REDIS_STOP_SECONDS = 15.0
RELEASE_SECONDS = 20.0
"""What a worker gets on top of `drain_seconds` to hand its job back."""


class StackFailed(Exception):
    """The stack cannot run; the message says which part is to blame and shows the end of its log."""


class Interrupted(Exception):
    """A signal asked to stop while the stack was starting."""


class Stack:
    """Redis, the gateway and workers: started by `start`, watched by `run_until_interrupted`, ended by `stop`."""

    def __init__(self, settings: Settings, report: Callable[[str], None], interrupts: Interrupts, workers: int = 1):
        self.settings = settings
        self.interrupts = interrupts
        self.workers = workers
        self.data_dir = settings.data_dir.resolve()
        self.processes = Processes(report)
        self.lock: int | None = None
        self.socket_folder: Path | None = None

    @property
    def url(self) -> str:
        """Where clients on this machine reach the gateway."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)
        return f"http://[{host}]:{self.settings.port}" if ":" in host else f"http://{host}:{self.settings.port}"

    def start(self) -> None:
        """Start every part and wait until `/readyz` says that a warm worker is there.

        Raises:
            StackFailed: a part does not start, the port is taken or the data folder is in use.
            Interrupted: a signal asked to stop.
        """
        refuse_taken_port(self.settings.host, self.settings.port)
        try:
            read_catalogue(self.settings.model_dirs)
            self.lock = hold(self.data_dir)
        except (CatalogueError, DataFolderInUse, OSError) as error:
            raise StackFailed(str(error)) from error
        redis_url = self.settings.redis_url or self.start_redis()
        self.wait_for_redis(redis_url)
        environment = {
            **os.environ,
            "LUMIERE_REDIS_URL": redis_url,
            "LUMIERE_DATA_DIR": str(self.data_dir),
            "LUMIERE_HOST": self.settings.host,
            "LUMIERE_PORT": str(self.settings.port),
            "LUMIERE_QUEUE_NAME": self.settings.queue_name,
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",  # a folder named `model` in the working directory is not ours
        }
        self.start_gateway(environment)
        for number in range(1, self.workers + 1):
            self.start_worker("worker" if self.workers == 1 else f"worker-{number}", environment)
        self.wait_until_ready()

    def start_redis(self) -> str:
        """Start the stack's own Redis; returns its address."""
        assert self.lock is not None
        try:
            binary = redis_server.find_binary()
            folder = self.data_dir / "redis"
            folder.mkdir(exist_ok=True)
            self.socket_folder = Path(tempfile.mkdtemp(prefix="lumiere-"))  # made with mode 0700
            path = self.socket_folder / "redis.sock"
            command = redis_server.command(binary, path, folder, self.settings.redis_memory_mb)
        except (redis_server.RedisMissing, OSError, ValueError) as error:
            raise StackFailed(str(error)) from error
        # When we are killed it still gets the time to write its file out; meanwhile it keeps the lock.
        part = Part("redis", command, os.environ, self.log("redis"), REDIS_STOP_SECONDS, signal.SIGTERM, (self.lock,))
        self.processes.start(part)
        url = f"unix://{path}"
        note_redis(self.data_dir, url)
        return url

    def start_gateway(self, environment: Mapping[str, str]) -> None:
        command = gateway_command(self.settings)
        environment = {**environment, **gateway_environment(self.settings)}
        self.processes.start(Part("gateway", command, environment, self.log("gateway"), GATEWAY_STOP_SECONDS))

    def start_worker(self, name: str, environment: Mapping[str, str]) -> None:
        patience = self.settings.drain_seconds + RELEASE_SECONDS
        self.processes.start(Part(name, worker_command(), environment, self.log(name), patience))

    def log(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    def wait_for_redis(self, url: str) -> None:
        # Our own may have a long file to load; a foreign one is expected to run already.
        deadline = time.monotonic() + (60.0 if self.socket_folder else 5.0)
        while (reason := redis_server.answers(url)) is not None:
            if time.monotonic() > deadline:
                raise StackFailed(f"Redis at {redis_server.without_password(url)} does not answer: {reason}")
            self.wait_a_moment()

    def wait_until_ready(self) -> None:
        begun = time.monotonic()
        deadline = begun + START_SECONDS
        reason = "no answer yet"
        with httpx.Client(base_url=self.url, timeout=5.0, trust_env=False) as client:
            while True:
                try:
                    answer = client.get("/readyz")
                    if answer.status_code == 200:
                        return
                    reason = why_not_ready(answer)
                except httpx.TransportError as error:
                    reason = str(error)
                if MODEL_UNUSABLE.search(reason) or time.monotonic() > deadline:
                    raise StackFailed(f"not ready after {time.monotonic() - begun:.0f} s: {reason}")
                self.wait_a_moment()

    def wait_a_moment(self) -> None:
        """One turn of a waiting loop: crashed parts are restarted, in the end given up; a signal ends the wait."""
        self.processes.tend()
        for child in self.processes.children:
            if child.restarts >= CRASHES_BEFORE_GIVING_UP:
                log = child.part.log
                raise StackFailed(f"{child.part.name} keeps crashing; the end of {log}:\n{tail(log)}")
        if self.interrupts.count:
            raise Interrupted
        time.sleep(POLL_SECONDS)

    def watch(self, until: Callable[[], bool]) -> None:
        """Look after the parts until something else is done.

        Raises:
            StackFailed: a part keeps crashing.
            Interrupted: a signal asked to stop.
        """
        while not until():
            self.wait_a_moment()

    def run_until_interrupted(self) -> None:
        """Look after the parts, however often they crash."""
        while not self.interrupts.count:
            self.processes.tend()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Drain the workers, then stop the gateway, Redis last; a second signal stops all of it at once."""
        self.processes.stop(at_once=lambda: self.interrupts.count > 1)
        if self.socket_folder is not None:
            forget_redis(self.data_dir)
            shutil.rmtree(self.socket_folder, ignore_errors=True)
        if self.lock is not None:
            os.close(self.lock)


def why_not_ready(answer: httpx.Response) -> str:
    """The `detail` of the problem that `/readyz` answers with."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"/readyz answered {answer.status_code}"


def python_module(*arguments: str) -> list[str]:
    """A command line of this Python."""
    return [sys.executable, "-m", *arguments]


def gateway_command(settings: Settings) -> list[str]:
    several = ("--workers", str(settings.gateway_processes), "--timeout-worker-healthcheck", str(HEALTH_SECONDS))
    return python_module(
        *("uvicorn", "--factory", "service.api.app:from_environment"),
        *("--host", settings.host, "--port", str(settings.port), "--log-level", settings.log_level),
        # Streams of progress events would otherwise hold a stopping gateway up until their jobs end.
        *("--timeout-graceful-shutdown", "3", "--no-server-header", "--no-access-log"),
        *(several if settings.gateway_processes > 1 else ()),
    )


def gateway_environment(settings: Settings) -> dict[str, str]:
    """What the processes of a gateway need besides its settings: a folder where their metrics add up."""
    return {METRICS_FOLDER: tempfile.mkdtemp(prefix="lumiere-metrics-")} if settings.gateway_processes > 1 else {}


def worker_command() -> list[str]:
    return python_module("workers.main")


def refuse_taken_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            raise StackFailed(
                f"cannot listen on {host} port {port}: {error.strerror or error}; set LUMIERE_PORT to a free one"
            ) from error


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def serve(settings: Settings, workers: int, say: Callable[[str], None]) -> None:
    """Run the stack in the foreground until a signal asks to stop.

    Raises:
        StackFailed: it could not be started; everything that had been is stopped again.
    """
    with Interrupts() as interrupts:
        stack = Stack(settings, say, interrupts, workers)
        try:
            say(f"starting (data and logs in {stack.data_dir})")
            started = time.monotonic()
            stack.start()
            say(greeting(stack.url, time.monotonic() - started))
            if settings.keys_required:
                say(KEYS_REQUIRED)
            stack.run_until_interrupted()
            say("stopping: running jobs get a moment to finish, press Ctrl-C again to stop at once")
        except Interrupted:
            say("stopping")
        finally:
            stack.stop()
    say("stopped")


KEYS_REQUIRED = """
Requests need an API key, because others can reach this address: lumiere keys create --name NAME
Send it as `Authorization: Bearer lum_…`; the command line takes it from LUMIERE_API_KEY."""


def greeting(url: str, seconds: float) -> str:
    program = os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else sys.argv[0]
    return f"""ready on {url} after {seconds:.1f} s; API documentation: {url}/docs

  curl -s {url}/v1/text-to-video -H 'content-type: application/json' \\
       -d '{{"prompt": "a red car driving on a mountain road"}}'
  curl -s {url}/v1/videos/VIDEO_ID                        # its status; VIDEO_ID is the id in the first answer
  curl -s {url}/v1/videos/VIDEO_ID/content -o video.mp4   # once it is completed

or all of it: {program} generate --url {url} "a knight riding through the countryside"

Ctrl-C stops the service and keeps the jobs that wait."""
