"""`lumiere jobs`: look at the jobs of a running service, watch and cancel them."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.client import Service, Video, default_url
from service.cli.generate import as_json, refuse_unfinished
from service.cli.progress import clock, show

jobs = typer.Typer(no_args_is_help=True, help="Show, watch, cancel and list the jobs of a running service.")

Url = Annotated[str, typer.Option("--url", help="Address of the service.", envvar="LUMIERE_URL", show_default=False)]
VideoId = Annotated[str, typer.Argument(metavar="VIDEO_ID", show_default=False)]
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
def watch_job(video_id: VideoId, url: Url = "") -> None:
    """Follow a job until it ends; the exit code is 0 if it completed."""
    with Service(url or default_url()) as service:
        show(Console(), service.follow(video_id))
        refuse_unfinished(service.video(video_id))


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
    json: AsJson = False,
) -> None:
    """The latest jobs."""
    with Service(url or default_url()) as service:
        videos = service.videos(limit)
    if json:
        typer.echo(as_json(videos))
        return
    table = Table(box=None, pad_edge=False)
    for name, width in (("id", 32), ("status", 11), ("progress", 8)):
        table.add_column(name, min_width=width, no_wrap=True)
    table.add_column("prompt", no_wrap=True, overflow="ellipsis")
    for video in videos:
        table.add_row(video["id"], video["status"], f"{video['progress']} %", Text(video["prompt"]))
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
