"""Videos that the model made, kept on disk: what was made once is read when the same is asked for again, so that an
evaluation goes on where it stopped, and measuring anew costs no making.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.pipeline import LumierePipeline
from model.video_io import Frames

FINGERPRINTED = (".safetensors", ".json")


class MadeVideos:
    """Of the model in `model`, kept in `folder`. size: pixels along each side; None is what the network draws at.
    steps: None is the model's own number.
    """

    def __init__(self, model: Path, folder: Path, size: int | None = None, steps: int | None = None) -> None:
        self.pipeline = LumierePipeline.from_pretrained(model)
        self.model = fingerprint(model)
        self.folder = folder
        self.size = size or self.pipeline.base_resolution
        self.steps = steps
        self.seconds: list[float] = []
        folder.mkdir(parents=True, exist_ok=True)

    def video(self, task: str, prompt: str, seed: int, **arguments: Any) -> Frames:
        """`task` is a method of the pipeline; `arguments` are its own."""
        options = {"height": self.size, "width": self.size, "num_inference_steps": self.steps, **arguments}
        path = self.folder / f"{digest([self.model, task, prompt, seed, options])}.npz"
        if not path.exists():
            started = time.perf_counter()
            frames = getattr(self.pipeline, task)(prompt, seed=seed, **options).frames
            partial = path.with_suffix(".partial.npz")
            np.savez_compressed(partial, frames=frames, seconds=time.perf_counter() - started)
            partial.replace(path)
        with np.load(path) as kept:
            self.seconds.append(float(kept["seconds"]))
            frames = kept["frames"]
        return frames


def fingerprint(model: Path) -> str:
    """Of the weights and settings of a model folder."""
    files = sorted(path for path in model.rglob("*") if path.suffix in FINGERPRINTED)
    return digest([[str(path.relative_to(model)), path] for path in files])


def digest(value: Any) -> str:
    """Of what a video depends on: numbers, text, arrays, the contents of files, and collections of those."""
    return hashlib.sha256(json.dumps(described(value), sort_keys=True).encode()).hexdigest()[:24]


def described(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        contents = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return ["array", str(value.dtype), list(value.shape), contents]
    if isinstance(value, Path):
        return ["file", hashlib.sha256(value.read_bytes()).hexdigest()]
    if is_dataclass(value) and not isinstance(value, type):
        return described(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): described(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    return value
