"""Seconds and memory of whole jobs, from the input files to the MP4: every task at the model's defaults, long videos,
and an edit of a large source.

    python benchmarks/tasks.py                                   # every task, as asked for without any option
    python benchmarks/tasks.py long                              # 80 and 320 frames
    python benchmarks/tasks.py large                             # 80 frames of 512x512 inpainted
    python benchmarks/tasks.py tasks long large --steps 2        # quick: few steps; memory is nearly the same

Each job has a process of its own, warmed up with one step of the same shape. Memory is the peak of the process; before:
with the model loaded. Seconds of CPU are the sum over all cores: what a job takes that has one to itself. Prints a
table and, as the last line, everything as one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).resolve().parent.parent / "model" / "weights" / "lumiere-mini"
TASKS = ("text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize")
GROUPS: dict[str, list[dict[str, Any]]] = {
    "tasks": [{"task": task} for task in TASKS],
    "long": [{"task": "text-to-video", "num_frames": frames} for frames in (80, 320)],
    "large": [{"task": "inpaint", "size": 512}],
}
PROMPT = "a red ball bouncing on the beach"


def run(task: str, model: Path, folder: Path, num_frames: int | None, size: int | None, steps: int | None) -> Any:
    """One job in this process: megabytes, and seconds by stage."""
    import numpy as np
    from PIL import Image

    from model.conditioning import Box, Keyframe
    from model.inputs import read_picture, read_region, read_source
    from model.pipeline import LumierePipeline
    from model.video_io import write_mp4

    pipeline = LumierePipeline.from_pretrained(model)
    defaults = pipeline.card["defaults"]
    frames = num_frames or defaults["num_frames"]
    width, height = (size, size) if size else map(int, defaults["size"].split("x"))
    fps = defaults["fps"]
    write_source(folder / "film.mp4", frames, height, width, fps)
    Image.fromarray(moving(0, height, width)).save(folder / "picture.png")
    before = peak_mb()

    def job(steps: int | None) -> Any:
        options = {"seed": 1, "height": height, "width": width, "num_inference_steps": steps}
        picture = read_picture(folder / "picture.png", width, height)
        match task:
            case "image-to-video":
                return pipeline.image_to_video(PROMPT, keyframes=[Keyframe(picture, 0)], num_frames=frames, **options)
            case "cinemagraph":
                region = read_region(None, [Box(0, 0.5, 1, 0.5)], frames, fps, *picture.shape[:2])
                return pipeline.cinemagraph(PROMPT, image=picture, mask=region, num_frames=frames, **options)
            case "inpaint":
                film = read_source(folder / "film.mp4", fps, frames, width, height)
                region = read_region(None, [Box(0.25, 0.25, 0.5, 0.5)], frames, fps, *film.shape[1:3])
                return pipeline.inpaint(PROMPT, video=film, mask=region, **options)
            case "stylize":
                return pipeline.stylize(
                    PROMPT, video=read_source(folder / "film.mp4", fps, frames, width, height), **options
                )
        return pipeline.text_to_video(PROMPT, num_frames=frames, **options)

    job(1)
    started, used = time.perf_counter(), time.process_time()
    clip = job(steps)
    write_mp4(clip.frames, folder / "out.mp4", fps)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    assert clip.frames.shape == (frames, height, width, 3)
    kept = None
    if task == "inpaint":
        source = read_source(folder / "film.mp4", fps, frames, width, height)
        outside = np.ones((height, width), bool)
        outside[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = False
        kept = bool((clip.frames[:, outside] == source[:, outside]).all())
    return {
        "task": task,
        "frames": frames,
        "size": f"{width}x{height}",
        "steps": steps or defaults["num_inference_steps"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "before_mb": before,
        "peak_mb": peak_mb(),
        "result_mb": round(clip.frames.nbytes / 1e6, 1),
        "kept": kept,
        "stages": {name: round(spent, 2) for name, spent in clip.timings.items()},
    }


def moving(frame: int, height: int, width: int) -> Any:
    """A disc that crosses a smooth ground: uint8 (h, w, 3)."""
    import numpy as np

    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 160 // width, y * 160 // height, 200 - x * 100 // width], -1).astype(np.uint8)
    pixels[(x - width * (0.2 + frame * 0.006)) ** 2 + (y - height * 0.5) ** 2 < (height / 8) ** 2] = (230, 40, 40)
    return pixels


def write_source(path: Path, frames: int, height: int, width: int, fps: int) -> None:
    import numpy as np

    from model.video_io import write_mp4

    write_mp4(np.stack([moving(frame, height, width) for frame in range(frames)]), path, fps)


def peak_mb() -> float:
    """Of this process; Linux counts in kilobytes."""
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; tasks if none is given")
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--steps", type=int, help="instead of the model's default")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.job is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run(model=asked.model, folder=Path(folder), **asked.job)))
        return
    unknown = set(asked.groups) - GROUPS.keys()
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}: {', '.join(GROUPS)}")
    rows = []
    print(f"{'task':16}{'frames':>8}{'size':>10}{'steps':>7}{'seconds':>9}{'of CPU':>8}{'before MB':>11}{'peak MB':>9}")
    for group in asked.groups or ["tasks"]:
        for job in GROUPS[group]:
            rows.append(in_a_process({"num_frames": None, "size": None, "steps": asked.steps, **job}, asked.model))
            row = rows[-1]
            print(
                f"{row['task']:16}{row['frames']:8}{row['size']:>10}{row['steps']:7}{row['seconds']:9.1f}"
                f"{row['cpu_seconds']:8.1f}{row['before_mb']:11.0f}{row['peak_mb']:9.0f}",
                flush=True,
            )
    print(json.dumps({"rows": rows}))


def in_a_process(job: dict[str, Any], model: Path) -> Any:
    command = [sys.executable, "-m", "benchmarks.tasks", "--model", str(model), "--job", json.dumps(job)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
