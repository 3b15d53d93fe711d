"""`lumiere usage`: what jobs have cost, by day and key."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.cli.client import Service, Video, default_url
from service.cli.generate import as_json, given
from service.cli.jobs import AsJson, Url
from service.cli.progress import clock

NUMBERS = ("completed", "failed", "cancelled")


def show_usage(
    start: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD; 30 days before the last.")] = None,
    end: Annotated[str | None, typer.Option(help="Last day, today if not given.")] = None,
    key_id: Annotated[str | None, typer.Option(help="Of one key; needs the scope admin for another's.")] = None,
    url: Url = "",
    json: AsJson = False,
) -> None:
    """Jobs and device time by day, key and model."""
    with Service(url or default_url()) as service:
        usage = service.ask("GET", "/v1/usage", params=given(start=start, end=end, key_id=key_id))
    typer.echo(as_json(usage)) if json else Console().print(table_of(usage))


def table_of(usage: Video) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=True)
    total = usage["total"]
    table.add_column("day", footer="total", no_wrap=True)
    table.add_column("key")
    table.add_column("model")
    for name in NUMBERS:
        table.add_column(name, footer=str(total[name]), justify="right")
    table.add_column("device time", footer=device_time(total), justify="right")
    for row in usage["data"]:
        counts = [str(row[name]) for name in NUMBERS]
        table.add_row(row["day"], row["key_id"] or "", row["model"], *counts, device_time(row))
    return table


def device_time(row: Video) -> str:
    """Of all attempts, those that were made anew included."""
    return clock(row["device_seconds"] + row["retried_seconds"])
