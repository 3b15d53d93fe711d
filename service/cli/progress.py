"""A running job on the terminal: a bar with step, elapsed time and ETA; plain lines where there is none."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from service.cli.client import Event

PLAIN_STEP = 10
"""Without a terminal a line is printed for every so many per cent."""


class EtaColumn(ProgressColumn):
    """The service's own estimate, which knows the queue and the stages to come."""

    def render(self, task: Task) -> Text:
        eta = task.fields.get("eta")
        return Text("" if eta is None else f"ETA {clock(eta)}", style="cyan")


def show(console: Console, events: Iterable[Event]) -> str:
    """Draw the events until the last one; returns the status in it."""
    return show_bar(console, events) if console.is_terminal else show_lines(console, events)


def show_bar(console: Console, events: Iterable[Event]) -> str:
    status = ""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
        EtaColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("sent", total=100, steps="", eta=None)
        for event in events:
            status = event.data.get("status", status)
            bar.update(
                task,
                description=describe(event),
                completed=100 if status == "completed" else event.data.get("progress", 0),
                steps=count(event),
                eta=event.data.get("eta_seconds"),
            )
    return status


def show_lines(console: Console, events: Iterable[Event]) -> str:
    status, shown = "", ("", -PLAIN_STEP)
    for event in events:
        status = event.data.get("status", status)
        stage, progress = describe(event), int(event.data.get("progress") or 0)
        if stage != shown[0] or progress >= shown[1] + PLAIN_STEP:
            shown = (stage, progress)
            eta = event.data.get("eta_seconds")
            left = f", ETA {clock(eta)}" if eta is not None else ""
            elapsed = event.data.get("elapsed_seconds")
            spent = f", {clock(elapsed)} elapsed" if elapsed is not None else ""
            steps = f", {count(event)}" if count(event) else ""
            console.print(f"{stage}: {progress} %{steps}{spent}{left}", highlight=False)
    return status


def describe(event: Event) -> str:
    """What the job is doing: its stage while it runs, else its status."""
    status = str(event.data.get("status") or "")
    stage = str(event.data.get("stage") or "")
    return stage if status == "in_progress" and stage else status.replace("_", " ")


def count(event: Event) -> str:
    step, steps = event.data.get("step"), event.data.get("steps")
    return f"step {step}/{steps}" if step and steps else ""


def clock(seconds: float) -> str:
    """Minutes and seconds: 75.2 is 1:15."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
