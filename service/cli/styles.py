"""`lumiere styles`: styles of a running service, and new ones learned from a picture."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.cli.client import Service, ServiceError, Style, default_url
from service.cli.generate import as_json, given
from service.cli.jobs import AsJson, Url
from service.cli.progress import show

styles = typer.Typer(no_args_is_help=True, help="List styles, learn new ones from a picture, delete them.")

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@styles.command("create")
def create_style(
    name: Name,
    image: Annotated[Path, typer.Option(help="The picture whose look is learned.")],
    prompt: Annotated[str | None, typer.Option(help="What the picture shows, without its style; helps.")] = None,
    model: Annotated[str | None, typer.Option(help="Model id; the style fits this model alone.")] = None,
    url: Url = "",
    json: AsJson = False,
) -> None:
    """Learn a style from one picture; minutes on a GPU, longer without one."""
    console = Console(stderr=json)
    with Service(url or default_url()) as service:
        style = service.create_style(given(name=name, prompt=prompt, model=model), image)
        if style["job"] and style["status"] != "completed":
            show(console, service.follow(style["job"]))
        style = service.style(style["id"])
    refuse_unfinished(style)
    typer.echo(as_json(style) if json else f'{style["id"]}: lumiere generate "…" --style {name}')


@styles.command("list")
def list_styles(url: Url = "", json: AsJson = False) -> None:
    """The styles that models are shipped with, and those that were made."""
    with Service(url or default_url()) as service:
        made, models = service.styles(), service.models()
    if json:
        typer.echo(as_json(made))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "model", "status", "id"):
        table.add_column(column, no_wrap=True)
    for model in models:
        for name in model["styles"]:
            table.add_row(name, model["id"], "shipped", "")
    for style in made:
        table.add_row(style["name"], style["model"], style["status"], style["id"])
    Console().print(table)


@styles.command("delete")
def delete_style(name: Name, url: Url = "", json: AsJson = False) -> None:
    """Delete a style by its name or id; one that is being learned is cancelled."""
    with Service(url or default_url()) as service:
        deleted = service.delete_style(name)
    typer.echo(as_json(deleted) if json else f"{name} is deleted")


def refuse_unfinished(style: Style) -> None:
    """Raises ServiceError, with the job's own reason, unless the style is there."""
    if style["status"] == "completed":
        return
    error = style.get("error") or {}
    reason = f": {error['message']} ({error['code']})" if error else ""
    raise ServiceError(f"{style['name']} {style['status']}{reason}")
