"""`lumiere jobs`: look at the jobs of a running service, watch and cancel them."""

from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.client import Service, ServiceError, Video, default_url
from service.cli.generate import as_json, refuse_unfinished
from service.cli.progress import clock, show

jobs = typer.Typer(
    no_args_is_help=True, help="List, show, watch, cancel, download and delete the jobs of a running service."
)

Url = Annotated[str, typer.Option("--url", help="Address of the service.", envvar="LUMIERE_URL", show_default=False)]
STATES = ("queued", "in_progress", "completed", "failed", "cancelled")


def latest_ids(incomplete: str) -> list[tuple[str, str]]:
    """For the shell's completion: ids with their status and prompt, none where no service answers."""
    try:
        with Service(default_url(), patience=0.0) as service:
            videos = service.videos(100)
    except ServiceError:
        return []
    return [
        (video["id"], f"{video['status']}: {video['prompt']}") for video in videos if video["id"].startswith(incomplete)
    ]


VideoId = Annotated[str, typer.Argument(metavar="VIDEO_ID", show_default=False, autocompletion=latest_ids)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@jobs.command("show")
def show_job(video_id: VideoId, url: Url = "", json: AsJson = False) -> None:
    """Everything that the service knows about one job."""
    with Service(url or default_url()) as service:
        video = service.video(video_id)
    if json:
        typer.echo(as_json(video))
        return
    table = Table.grid(padding=(0, 2))
    for name, value in facts(video).items():
        table.add_row(name, str(value))
    Console().print(table)


@jobs.command("watch")
def watch_job(video_id: VideoId, url: Url = "", json: AsJson = False) -> None:
    """Follow a job until it ends; the exit code is 0 if it completed. With --json each event is a line."""
    with Service(url or default_url()) as service:
        if json:
            for event in service.follow(video_id):
                typer.echo(dumps({"event": event.name, **event.data}))
        else:
            show(Console(), service.follow(video_id))
        refuse_unfinished(service.video(video_id))


@jobs.command("download")
def download_video(
    video_id: VideoId,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the MP4 goes.")] = Path("lumiere.mp4"),
    url: Url = "",
    json: AsJson = False,
) -> None:
    """Save the video of a completed job."""
    with Service(url or default_url()) as service:
        refuse_unfinished(service.video(video_id))
        size = service.download(video_id, output)
    typer.echo(as_json({"id": video_id, "file": str(output), "bytes": size}) if json else f"saved {output}")


@jobs.command("delete")
def delete_job(video_id: VideoId, url: Url = "", json: AsJson = False) -> None:
    """Delete a job and its video; one that waits or runs is cancelled."""
    with Service(url or default_url()) as service:
        deleted = service.delete(video_id)
    typer.echo(as_json(deleted) if json else f"{video_id} is deleted")


@jobs.command("cancel")
def cancel_job(video_id: VideoId, url: Url = "", json: AsJson = False) -> None:
    """Cancel a job that waits or runs; one that has ended stays as it is."""
    with Service(url or default_url()) as service:
        video = service.cancel(video_id)
    if json:
        typer.echo(as_json(video))
        return
    ended = video["status"] in ("completed", "failed", "cancelled")
    typer.echo(f"{video['id']} {'is ' + video['status'] if ended else 'will be cancelled within one step'}")


@jobs.command("ls")
def list_jobs(
    url: Url = "",
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    status: Annotated[
        str | None, typer.Option(help="Of these, only those in this status.", autocompletion=lambda: list(STATES))
    ] = None,
    json: AsJson = False,
) -> None:
    """The latest jobs."""
    with Service(url or default_url()) as service:
        videos = [video for video in service.videos(limit) if status in (None, video["status"])]
    if json:
        typer.echo(as_json(videos))
        return
    table = Table(box=None, pad_edge=False)
    for name, width in (("id", 32), ("task", 13), ("status", 11), ("progress", 8)):
        table.add_column(name, min_width=width, no_wrap=True)
    table.add_column("prompt", no_wrap=True, overflow="ellipsis")
    for video in videos:
        table.add_row(video["id"], video["task"], video["status"], f"{video['progress']} %", Text(video["prompt"]))
    Console().print(table)


def facts(video: Video) -> dict[str, Any]:
    """The lines of `lumiere jobs show`, without what is not known yet."""
    names = "id status progress stage queue_position prompt model size num_frames fps seed"
    lines = {name: video.get(name) for name in names.split()}
    if video.get("eta_seconds") is not None:
        lines["eta"] = clock(video["eta_seconds"])
    if video.get("error"):
        lines["error"] = f"{video['error']['message']} ({video['error']['code']})"
    return {name: value for name, value in lines.items() if value not in (None, "")}
