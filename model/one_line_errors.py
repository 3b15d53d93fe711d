"""What a command says when it cannot do what was asked."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console


@contextmanager
def one_line_errors(console: Console, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds end the command with their message, Ctrl-C without one, neither with a traceback."""
    try:
        yield
    except kinds as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
