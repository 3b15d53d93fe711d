"""`lumiere evaluate`: how often the model shows what a prompt says, on combinations it never saw."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track as progress_track
from rich.table import Table

from model.evaluation.judge import WEIGHTS, JudgeTraining, load_judge, train_judge
from model.evaluation.report import Evaluation, evaluate, held_out_prompts
from model.pipeline import LumierePipeline

app = typer.Typer(name="lumiere evaluate", help="Judge a text-to-video model of the procedural world.")

SHIPPED = Path(__file__).parents[1] / "weights" / "lumiere-mini"


@app.command()
def videos(
    model: Annotated[Path, typer.Option(help="Model folder.")] = SHIPPED,
    prompts: Annotated[int, typer.Option(min=1, help="How many prompts.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the prompts.")] = 20_000,
    split: Annotated[str, typer.Option(help="held-out, train or any: which combinations.")] = "held-out",
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json and contact sheets.")] = Path("runs/evaluation"),
) -> None:
    """Makes one video per prompt and prints the share that shows what was said, by attribute."""
    if split not in ("held-out", "train", "any"):
        raise typer.BadParameter(f"must be held-out, train or any, not {split!r}", param_hint="--split")
    pipeline = LumierePipeline.from_pretrained(model)
    chosen = held_out_prompts(prompts, seed, split)
    ticks = iter(progress_track(range(prompts), description="making videos"))
    next(ticks, None)
    result = evaluate(pipeline, load_judge(), chosen, out, split, on_video=lambda done: next(ticks, None))
    print_table(result)
    print(f"{out / 'evaluation.json'} and {len(list(out.glob('sheet-*.png')))} contact sheets written")


@app.command()
def judge(
    scale: Annotated[float, typer.Option(min=0.001, help="Length relative to the recipe's.")] = 1.0,
    out: Annotated[Path, typer.Option(help="Where the judge's weights go.")] = WEIGHTS,
) -> None:
    """Trains the judge anew, on rendered clips alone, and prints its accuracy on unseen ones."""
    recipe = JudgeTraining()
    frame_steps, clip_steps = (max(1, round(steps * scale)) for steps in (recipe.frame_steps, recipe.clip_steps))
    accuracy = train_judge(replace(recipe, frame_steps=frame_steps, clip_steps=clip_steps), out)
    print({name: round(share, 4) for name, share in accuracy.items()})


def print_table(result: Evaluation) -> None:
    table = Table(title=f"{result.prompts} prompts, {result.split} combinations")
    for column in ("attribute", "right", "judge on rendered clips"):
        table.add_column(column)
    for name, share in result.agreement.items():
        table.add_row(name, f"{share:.1%}", f"{result.judge_accuracy[name]:.1%}")
    console = Console()
    console.print(table)
    console.print(
        f"flicker score {result.flicker:.3f}, jerk ratio {result.jerk_ratio:.2f}, "
        f"first to last {result.first_to_last:.1f}, {result.seconds_per_video:.1f} s per video"
    )


if __name__ == "__main__":
    app(prog_name="lumiere evaluate")
