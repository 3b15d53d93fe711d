"""A deployment under load whose parts are killed, paused, drained and restarted: `make soak`, or

    python -m tests.scaleout.soak --seconds 300 --seed 1

Every few seconds there is one fault: SIGKILL, SIGTERM or a SIGSTOP beyond the lease to a worker, SIGKILL or SIGTERM
to a gateway, SIGKILL to Redis. All the while jobs are sent, each with an idempotency key, again and again until one
gateway has taken it. In the end every accepted job must have ended exactly once, with its own bytes. The last line is
JSON; the exit code tells.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from service.jobs import keys
from tests.redis_server import RedisServer
from tests.scaleout.deployment import Deployment, S3Server
from tests.workers.scripted import expected_bytes

STEPS = 10
DRAIN_SECONDS = 120.0
PAUSE_SECONDS = 3.0
"""Longer than the lease of two seconds."""


class Soak:
    def __init__(self, deployment: Deployment, redis_server: RedisServer, seed: int) -> None:
        self.deployment = deployment
        self.redis_server = redis_server
        self.random = random.Random(seed)
        self.jobs: dict[str, int] = {}
        self.faults: Counter[str] = Counter()
        self.unanswered = 0
        self.folder = deployment.settings.data_dir.parent

    def send(self) -> None:
        """One job, at whichever gateway takes it."""
        number = len(self.jobs)
        prompt: dict[str, object] = {"step_seconds": 0.03}
        if number % 10 == 3:  # one of ten kills its work-horse, once
            prompt |= {"at": 4, "do": "crash", "once": str(self.folder / f"crashed-{number}")}
        body = {"prompt": json.dumps(prompt), "num_inference_steps": STEPS, "seed": number}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            gateway = self.random.choice(self.deployment.gateways)
            try:
                answer = gateway.http.post("/v1/text-to-video", json=body, headers=headers)
            except httpx.TransportError:
                self.unanswered += 1
            else:
                if answer.status_code == 202:
                    self.jobs[answer.json()["id"]] = number
                    return
                assert answer.status_code == 503, answer.text
            time.sleep(0.1)

    def fault(self) -> None:
        """One fault, healed before this returns."""
        faults: list[tuple[str, Callable[[], None]]] = [
            ("worker SIGKILL", lambda: self.restart_worker(signal.SIGKILL)),
            ("worker SIGKILL", lambda: self.restart_worker(signal.SIGKILL)),
            ("worker SIGTERM", lambda: self.restart_worker(signal.SIGTERM)),
            ("worker SIGSTOP", self.pause_worker),
            ("gateway SIGKILL", lambda: self.restart_gateway(signal.SIGKILL)),
            ("gateway SIGTERM", lambda: self.restart_gateway(signal.SIGTERM)),
            ("Redis SIGKILL", self.restart_redis),
        ]
        name, make = self.random.choice(faults)
        self.faults[name] += 1
        make()

    def restart_worker(self, how: signal.Signals) -> None:
        worker = self.random.choice(self.deployment.workers)
        worker.end(how)
        worker.start()

    def pause_worker(self) -> None:
        worker = self.random.choice(self.deployment.workers)
        assert worker.process is not None
        worker.process.send_signal(signal.SIGSTOP)
        until = time.monotonic() + PAUSE_SECONDS
        while time.monotonic() < until:
            self.send()
            time.sleep(0.2)
        worker.process.send_signal(signal.SIGCONT)

    def restart_gateway(self, how: signal.Signals) -> None:
        gateway = self.random.choice(self.deployment.gateways)
        gateway.end(how)
        gateway.start()
        gateway.wait()

    def restart_redis(self) -> None:
        self.redis_server.stop(signal.SIGKILL)
        time.sleep(self.random.uniform(0, 1))
        self.redis_server.start()

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            calm_until = time.monotonic() + self.random.uniform(0.5, 2.0)
            while time.monotonic() < calm_until:
                self.send()
                time.sleep(self.random.uniform(0.1, 0.4))
            self.fault()

    def status(self, job: str) -> str:
        for gateway in self.deployment.gateways:
            answer = gateway.http.get(f"/v1/videos/{job}")
            if answer.status_code == 200:
                return str(answer.json()["status"])
        return "missing"

    def verdict(self) -> dict[str, object]:
        """What became of the jobs, once all have ended or the time for it is up."""
        started = time.monotonic()
        left = set(self.jobs)
        while left and time.monotonic() < started + DRAIN_SECONDS:
            left = {job for job in left if self.status(job) in ("queued", "in_progress")}
            time.sleep(0.5)
        rows = self.deployment.terminal_rows()
        states = Counter(self.status(job) for job in self.jobs)
        wrong = [told for job, number in self.jobs.items() if (told := self.what_is_wrong(job, number))]
        print(*wrong, sep="\n")
        return {
            "jobs": len(self.jobs),
            "faults": dict(self.faults),
            "states": dict(states),
            "not_ended": len(left),
            "ended_more_than_once": sum(rows.get(job, 0) > 1 for job in self.jobs),
            "ended_without_event": sum(rows.get(job, 0) == 0 for job in self.jobs) - len(left),
            "unknown_jobs": len(set(rows) - set(self.jobs)),
            "wrong_bytes": len(wrong),
            "requests_without_answer": self.unanswered,
            "drained_in_seconds": round(time.monotonic() - started, 1),
        }

    def what_is_wrong(self, job: str, number: int) -> str | None:
        """Of a job's content at each gateway; None when it is as it should be."""
        wanted = expected_bytes(number, STEPS)
        for gateway in self.deployment.gateways:
            answer = gateway.http.get(f"/v1/videos/{job}/content")
            if answer.status_code != 200 or answer.content != wanted:
                record = self.deployment.redis.hgetall(keys.job(job))
                return f"{job} ({number}): {answer.status_code} {answer.text[:400]}; record: {record}"
        return None


def run_on_a_copy(folder: Path, words: Sequence[str]) -> int:
    """Runs this program on a copy of the code, and gives its exit code: parts that are restarted in the middle of a run
    start with the code that they had before, whatever is edited meanwhile.
    """
    root = Path(__file__).parents[2]
    for package in ("service", "workers", "tests", "model"):
        unneeded = shutil.ignore_patterns("__pycache__", "*.safetensors", "images")
        shutil.copytree(root / package, folder / package, ignore=unneeded)
    command = [sys.executable, "-m", "tests.scaleout.soak", "--in-place", *words]
    return subprocess.run(command, cwd=folder, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-place", action="store_true", help="run on this very code, not on a copy of it")
    arguments = parser.parse_args()
    if not arguments.in_place:
        with tempfile.TemporaryDirectory(prefix="lumiere-code-") as name:
            sys.exit(run_on_a_copy(Path(name), sys.argv[1:]))
    with tempfile.TemporaryDirectory(prefix="lumiere-") as name:
        folder = Path(name)
        redis_server, s3 = RedisServer(folder), S3Server(folder)
        redis_server.start()
        s3.start()
        deployment = Deployment(folder, redis_server.url, s3.settings())
        soak = Soak(deployment, redis_server, arguments.seed)
        try:
            deployment.start()
            soak.run(arguments.seconds)
            deployment.wait_for_workers()
            found = {"seed": arguments.seed, "seconds": arguments.seconds, **soak.verdict()}
        finally:
            deployment.stop()
            s3.stop()
            redis_server.stop()
    for what, amount in found.items():
        print(f"{what:24} {amount}")
    print(json.dumps(found))
    bad = ("not_ended", "ended_more_than_once", "ended_without_event", "unknown_jobs", "wrong_bytes")
    sys.exit(any(found[what] for what in bad))


if __name__ == "__main__":
    main()
