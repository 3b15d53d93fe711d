"""Peak memory of super-resolution at 80 and 320 frames: `python benchmarks/super_resolution_memory.py`.

Each length runs in a process of its own, with random weights of the shipped network's shape; what counts is the peak
beyond what the process needed before, and the result as one array of bytes, which does grow.
"""

import argparse
import json
import subprocess
import sys

LENGTHS = (80, 320)


def measure(frames: int, size: int, steps: int) -> dict[str, float]:
    """Megabytes: the peak of the process, what it had before, and the finished frames."""
    import resource
    import time

    import torch

    from model.clip import joined
    from model.super_resolution import Settings, enlarge
    from model.training.super_resolution import SuperResolutionConfig, build_network

    torch.manual_seed(0)
    network = build_network(SuperResolutionConfig()).eval()
    text = {"encoder_hidden_states": torch.zeros(1, 8, 128)}
    low = torch.rand(1, 3, frames, size // network.config.scale, size // network.config.scale) * 2 - 1
    list(enlarge(network, low[:, :, :4], text, Settings(steps=1)))
    before = peak(resource)
    started = time.perf_counter()
    done = joined(enlarge(network, low, text, Settings(steps=steps)), frames, size, size)
    seconds = time.perf_counter() - started
    return {
        "frames": frames,
        "seconds": round(seconds, 1),
        "before_mb": before,
        "peak_mb": peak(resource),
        "result_mb": round(done.nbytes / 1e6, 1),
    }


def peak(resource: object) -> float:
    """Of this process, in megabytes; Linux counts in kilobytes."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--frames", type=int, help="measure this length in this process")
    arguments = parser.parse_args()
    if arguments.frames:
        print(json.dumps(measure(arguments.frames, arguments.size, arguments.steps)))
        return
    rows = []
    for frames in LENGTHS:
        command = [sys.executable, __file__, "--frames", str(frames)]
        command += ["--size", str(arguments.size), "--steps", str(arguments.steps)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(rows[-1], flush=True)
    short, long = (row["peak_mb"] - row["result_mb"] for row in rows)
    print(f"without the result: {short:.0f} MB and {long:.0f} MB, ratio {long / short:.3f}")
    print(f"with it: ratio {rows[1]['peak_mb'] / rows[0]['peak_mb']:.3f}")


if __name__ == "__main__":
    main()
