"""`lumiere train clips`: one's own clips, on one process or, under `accelerate launch -m model.finetune`, on many."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from model.one_line_errors import one_line_errors

SHIPPED = Path(__file__).resolve().parent.parent / "weights" / "lumiere-mini"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def clips(
    data: Annotated[Path, typer.Option(help="Folder of videos with captions, or of WebDataset tars.")],
    model: Annotated[Path, typer.Option(help="Model folder to begin with; lumiere-mini if not given.")] = SHIPPED,
    out: Annotated[
        Path, typer.Option(help="Where the trained model goes; a run that stopped there is gone on with.")
    ] = Path("runs/clips"),
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimizer.")] = 1000,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips per process and step.")] = 1,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches per step.")] = 1,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames per clip; the model's own number if not given.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Their rate; the model's own if not given.")] = None,
    learning_rate: Annotated[float, typer.Option(help="After the warm-up.")] = 1e-4,
    warmup: Annotated[int, typer.Option(min=0, help="Steps up to the learning rate.")] = 100,
    ema_decay: Annotated[
        float, typer.Option(min=0, max=1, help="Of the averaged weights, which are the result.")
    ] = 0.999,
    caption_dropout: Annotated[float, typer.Option(min=0, max=1, help="Share of clips shown without caption.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    precision: Annotated[str, typer.Option(help="no or bf16.")] = "no",
    gradient_checkpointing: Annotated[bool, typer.Option(help="Less memory, a third more time.")] = True,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode videos, per training process.")] = 2,
    log_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 10,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 100,
    sample_every: Annotated[int, typer.Option(min=1, help="Steps between sample videos.")] = 500,
    sample_prompt: Annotated[list[str] | None, typer.Option(help="May be given again; else two captions.")] = None,
    tracker: Annotated[
        list[str] | None, typer.Option(help="Of accelerate: tensorboard, wandb, ...; may be given again.")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Leave GPUs alone.")] = False,
) -> None:
    """Train the temporal layers of a model on a folder of captioned videos. Resumes where it stopped."""
    from model.finetune.train import Settings, train  # seconds of imports, not for --help

    console = Console(stderr=True)
    with one_line_errors(console, ValueError, OSError):
        train(
            Settings(
                data=data,
                model=model,
                out=out,
                steps=steps,
                batch_size=batch_size,
                accumulate=accumulate,
                frames=frames,
                fps=fps,
                learning_rate=learning_rate,
                warmup=warmup,
                ema_decay=ema_decay,
                caption_dropout=caption_dropout,
                seed=seed,
                precision=precision,
                gradient_checkpointing=gradient_checkpointing,
                workers=workers,
                log_every=log_every,
                save_every=save_every,
                sample_every=sample_every,
                sample_prompts=tuple(sample_prompt or ()),
                trackers=tuple(tracker or ()),
                cpu=cpu,
            )
        )
    if os.environ.get("RANK", "0") == "0":
        console.print(f"trained model in {out}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    app(prog_name="lumiere train clips")
