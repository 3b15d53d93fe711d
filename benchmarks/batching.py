"""How many videos a minute a model makes one by one, and in batches of several jobs, measured in turn in one run.

    python -m benchmarks.batching                                # the shipped model's size, in batches of 1, 2 and 4
    python -m benchmarks.batching --sizes 1,2,4,8 --videos 16 --steps 20

For each size the same videos are drawn and finished, as a worker does with jobs that are alike. The sizes take turns,
so that whatever else the machine does falls on all of them. Prints a table, how far the frames are from those made one
by one, and a last line of JSON.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from model.options import Asked, Options
from model.pipeline import LumierePipeline
from service.settings import shipped_model

PROMPTS = ("a red car driving on a mountain road", "a blue balloon rising over a lake", "a cat walking in the snow")


def make(pipeline: LumierePipeline, asked: list[Asked], size: int) -> tuple[float, list[np.ndarray]]:
    """Seconds that all videos took, `size` at a time, and their frames."""
    started = time.perf_counter()
    frames = []
    for begin in range(0, len(asked), size):
        frames += [pipeline.finish(drawn).frames for drawn in pipeline.draw(asked[begin : begin + size])]
    return time.perf_counter() - started, frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--sizes", default="1,2,4")
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--size", default="128x128")
    options = parser.parse_args()
    sizes = sorted({1, *map(int, options.sizes.split(","))})
    width, height = map(int, options.size.split("x"))
    pipeline = LumierePipeline.from_pretrained(options.model)
    shape = {"num_frames": options.frames, "width": width, "height": height, "num_inference_steps": options.steps}
    asked = [Asked(PROMPTS[seed % len(PROMPTS)], Options(seed=seed, **shape)) for seed in range(options.videos)]

    for size in sizes:
        make(pipeline, asked[:size], size)  # kernels are chosen, memory is mapped
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    made: dict[int, list[np.ndarray]] = {}
    for _ in range(options.rounds):
        for size in sizes:
            took, made[size] = make(pipeline, asked, size)
            seconds[size].append(took)

    per_minute = {size: 60 * len(asked) / statistics.median(took) for size, took in seconds.items()}
    apart = {
        size: max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(made[1], made[size], strict=True))
        for size in sizes
    }
    print("batch  videos/min  against 1  largest difference of a level")
    for size in sizes:
        print(f"{size:5}  {per_minute[size]:10.2f}  {per_minute[size] / per_minute[1]:8.2f}x  {apart[size]:29}")
    found = {
        "device": str(pipeline.device),
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        **shape,
        "videos_per_minute": per_minute,
        "largest_difference": apart,
    }
    if pipeline.device.type == "cuda":
        found["peak_bytes"] = torch.cuda.max_memory_allocated(pipeline.device)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
