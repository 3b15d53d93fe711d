"""The function that RQ carries by name. Gateways know the name; nothing here imports the model."""

from typing import NoReturn


def generate_video(attempt: str) -> NoReturn:
    """The name that stands for an attempt in RQ's lists. A supervisor never calls it; a plain `rq worker` would."""
    raise RuntimeError(f"{attempt} needs a worker of this project: start one with `lumiere worker`")
