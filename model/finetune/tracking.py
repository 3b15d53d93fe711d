"""The log of a run: JSON lines beside the weights always, and whatever accelerate's trackers are asked for."""

import json
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, on_main_process


class JsonLines(GeneralTracker):
    """One line a logged step. A run that is resumed at an earlier step than it was killed at says nothing twice."""

    name = "jsonl"
    requires_logging_directory = False

    def __init__(self, path: Path, resumed_at: int) -> None:
        super().__init__()
        self.path, self.resumed_at = path, resumed_at

    @on_main_process
    def start(self) -> None:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.resumed_at]
        self.path.write_text("".join(line + "\n" for line in kept))

    @property
    def tracker(self) -> Path:
        return self.path

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
