"""How long a video takes while other processes keep cores busy, by how the threads of the worker wait for each other.

    python benchmarks/busy_core.py                 # no other process, then one
    python benchmarks/busy_core.py --busy 0 1 2

OpenMP's threads wait for each other in a busy loop, also for one that another process keeps from its core; a worker's
soon go to sleep (`service.waiting_threads`), and half of them do not meet at all (`model.side_by_side`), which is
measured with and without. Each round starts a process for each way, in turn; it makes a video to warm up and then those
that count. Prints a table of medians and, as the last line, one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from service.waiting_threads import SHORT_WAIT


class Way(NamedTuple):
    apart: bool
    """Whether rows of a batch are made apart."""
    environment: Mapping[str, str]


WAYS = {
    "shared, OpenMP's wait": Way(False, {}),
    "shared, short wait": Way(False, SHORT_WAIT),
    "apart, OpenMP's wait": Way(True, {}),
    "apart, short wait": Way(True, SHORT_WAIT),
}
MAKE_VIDEOS = """
import sys, time
import model.drawing
from model.generate import SHIPPED
from model.pipeline import LumierePipeline
videos, apart = sys.argv[1:]
if apart == "False":
    model.drawing.side_by_side = lambda network: network
pipeline = LumierePipeline.from_pretrained(SHIPPED)
for seed in range(int(videos) + 1):
    started = time.perf_counter()
    pipeline.text_to_video("a red car driving on a mountain road", seed=seed)
    if seed:
        print(time.perf_counter() - started)
"""


@contextmanager
def busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def seconds_of_videos(way: Way, videos: int) -> list[float]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, "-c", MAKE_VIDEOS, str(videos), str(way.apart)]
    made = subprocess.run(command, env={**others, **way.environment}, capture_output=True, text=True, check=True)
    return [float(line) for line in made.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1], help="other processes that keep a core busy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--videos", type=int, default=2, help="of each process, that count")
    arguments = parser.parse_args()
    medians: dict[str, dict[str, float]] = {}
    print(f"{'seconds of a video':20}", *(f"{way:>24}" for way in WAYS))
    for busy in arguments.busy:
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        with ExitStack() as others:
            for _ in range(busy):
                others.enter_context(busy_process())
            for _ in range(arguments.rounds):
                for name, way in WAYS.items():
                    taken[name] += seconds_of_videos(way, arguments.videos)
        others_busy = f"{busy} busy"
        medians[others_busy] = {way: round(statistics.median(seconds), 2) for way, seconds in taken.items()}
        print(f"{others_busy:20}", *(f"{medians[others_busy][way]:24.2f}" for way in WAYS), flush=True)
    print(json.dumps({"cores": os.cpu_count(), "rounds": arguments.rounds, "seconds": medians}))


if __name__ == "__main__":
    main()
