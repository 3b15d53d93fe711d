"""A runtime for fault tests: fast, and it does what the prompt says.

The prompt is a JSON object: `step_seconds`; and `at`, the step where `do` happens: "crash" (the process kills itself),
"hang" (sleeps, deaf to everything), "raise" (an unexpected error), "full" (the store is full), "broken" (the device).
With `once`, a path, it happens only as long as that file does not exist, and makes it.
"""

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from service.jobs.contract import ErrorCode, JobSpec
from service.jobs.models import ModelCard
from service.storage import StorageFull
from workers.horse import OnStep, OnStepOfBatch, Rendering, RunFailed
from workers.inputs import Inputs
from workers.messages import DeviceMemory

TOGETHER = b"together;"
"""What a video begins with that was made in a batch."""


class ScriptedRuntime:
    device = "cpu"
    dtype = "none"

    def __init__(self, cards: Mapping[str, ModelCard]) -> None:
        for card in cards.values():
            if (card.folder / "corrupt").exists():
                raise ValueError(f"{card.folder / 'corrupt'} is damaged")

    def memory(self) -> DeviceMemory:
        return DeviceMemory(used=3_000, peak=2_000, total=4_000)

    def draw(self, specs: Sequence[JobSpec], on_step: OnStepOfBatch) -> Sequence[bytes]:
        """All steps of all of them, at the pace of the slowest; the trace of it is the first part of their bytes."""
        drawn = [b""] * len(specs)
        for step in range(1, specs[0].num_inference_steps + 1):
            time.sleep(max(json.loads(spec.prompt).get("step_seconds", 0.01) for spec in specs))
            for place, spec in enumerate(specs):
                drawn[place] += part_of(spec, step)
                on_step(place, "denoise", step, spec.num_inference_steps)
        return [TOGETHER + trace for trace in drawn]

    def run(
        self, spec: JobSpec, inputs: Inputs, workdir: Path, on_step: OnStep, drawn: bytes | None = None
    ) -> Rendering:
        script = json.loads(spec.prompt)
        path = workdir / "video.mp4"
        path.write_bytes(drawn or b"")
        for step in () if drawn else range(1, spec.num_inference_steps + 1):
            time.sleep(script.get("step_seconds", 0.01))
            with path.open("ab") as file:
                file.write(part_of(spec, step))
            on_step("denoise", step, spec.num_inference_steps)
        return Rendering(
            path=path,
            width=spec.width,
            height=spec.height,
            num_frames=spec.num_frames,
            fps=spec.fps,
            dtype=self.dtype,
            upscale="none",
            timings={"denoise": 0.1},
        )


def part_of(spec: JobSpec, step: int) -> bytes:
    """What a step adds to a video, once it has done what the script says."""
    script = json.loads(spec.prompt)
    if step == script.get("at") and first_time(script.get("once")):
        misbehave(script["do"])
    return f"{spec.seed}:{step};".encode()


def first_time(marker: str | None) -> bool:
    if marker is None:
        return True
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def misbehave(how: str) -> None:
    match how:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "raise":
            raise RuntimeError("no such kernel")
        case "full":
            raise StorageFull("no room")
        case "broken":
            raise RunFailed(ErrorCode.WORKER_CRASHED, "the device failed", retry=True, broken=True)


def expected_bytes(seed: int, steps: int) -> bytes:
    return "".join(f"{seed}:{step};" for step in range(1, steps + 1)).encode()
