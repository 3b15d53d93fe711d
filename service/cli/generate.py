"""`lumiere generate`: send a prompt to a running service, watch it, save the MP4."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from service.cli.client import Service, ServiceError, Video
from service.cli.inputs import Parts
from service.cli.progress import show

TASKS = ("text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize")


def make_video(
    service: Service,
    task: str,
    request: Mapping[str, Any] | Parts,
    output: Path,
    console: Console,
    cancel_on_interrupt: bool = False,
) -> Video:
    """Submit, follow and download; returns the Video object of the completed job.

    Raises:
        ServiceError: the service refused, went away, or the job did not complete.
        KeyboardInterrupt: Ctrl-C; the job goes on unless `cancel_on_interrupt`.
    """
    if isinstance(request, Parts):
        video = service.submit_form(task, request.fields, request.files)
    else:
        video = service.submit(task, request)
    try:
        console.print(f"{video['id']}, seed {video['seed']}", highlight=False)
        show(console, service.follow(video["id"]))
    except KeyboardInterrupt:
        if cancel_on_interrupt:
            service.cancel(video["id"])
            console.print(f"{video['id']} is being cancelled", highlight=False)
        else:
            console.print(f"the job goes on; see it with: lumiere jobs watch {video['id']}", highlight=False)
        raise
    video = service.video(video["id"])
    refuse_unfinished(video)
    service.download(video["id"], output)
    return video


def refuse_unfinished(video: Video) -> None:
    """Raises ServiceError, with the job's own reason, unless it has completed."""
    if video["status"] == "completed":
        return
    error = video.get("error") or {}
    reason = f": {error['message']} ({error['code']})" if error else ""
    raise ServiceError(f"{video['id']} {video['status']}{reason}")


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; the service fills in the others."""
    return {name: value for name, value in options.items() if value is not None}


def as_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
