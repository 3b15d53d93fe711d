"""`lumiere evaluate`: what a model of the procedural world is worth, measured on what it never saw."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from model.evaluation import finder as finding
from model.evaluation.judge import WEIGHTS
from model.evaluation.judge_training import JudgeTraining, train_judge
from model.evaluation.made import MadeVideos
from model.evaluation.report import SECTIONS, section_table, write_section
from model.evaluation.section import Bench
from model.one_line_errors import one_line_errors

app = typer.Typer(name="lumiere evaluate", pretty_exceptions_enable=False)

SHIPPED = Path(__file__).parents[1] / "weights" / "lumiere-mini"
SPLITS = ("held-out", "train", "any")


def parse_sections(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in SECTIONS]
    if unknown or not names:
        raise ValueError(f"sections must be some of {', '.join(SECTIONS)}, got {', '.join(unknown) or 'none'}")
    return names


@app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Option(help="Model folder.")] = SHIPPED,
    sections: Annotated[str, typer.Option(help=f"Some of {','.join(SECTIONS)}.")] = ",".join(SECTIONS),
    prompts: Annotated[int, typer.Option(min=2, help="Prompts of text-to-video; other sections take a part.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of prompts and videos.")] = 20_000,
    split: Annotated[str, typer.Option(help="held-out, train or any: which combinations.")] = "held-out",
    plain_share: Annotated[float, typer.Option(min=0, max=1, help="Share of text-to-video in no other style.")] = 0.8,
    size: Annotated[int | None, typer.Option(min=1, help="Pixels along each side; the network's own.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Of denoising; the model's own.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for tables, contact sheets and videos.")] = Path("runs/evaluation"),
) -> None:
    """Make videos, measure them beside rendered clips, print tables, write JSON and contact sheets.

    Videos are kept: stopped at any time, the same command goes on where it was.
    """
    if context.invoked_subcommand is not None:
        return
    console = Console()
    with one_line_errors(Console(stderr=True), ValueError, OSError):
        names = parse_sections(sections)
        if split not in SPLITS:
            raise ValueError(f"split must be {', '.join(SPLITS)}, got {split!r}")
        made = MadeVideos(model, out / "videos", size, steps)
        bench = Bench(made, prompts, seed, split, plain_share)  # type: ignore[arg-type]
        settings: dict[str, object] = {
            "model": made.model,
            "prompts": prompts,
            "seed": seed,
            "split": split,
            "plain_share": plain_share,
            "size": made.size,
            "steps": steps,
        }
        for name in names:
            section = SECTIONS[name](bench)
            write_section(name, section, settings, out)
            console.print(section_table(name, section))
        console.print(f"written to {out}")


@app.command()
def judge(
    scale: Annotated[float, typer.Option(min=0.001, help="Length relative to the recipe's.")] = 1.0,
    out: Annotated[Path, typer.Option(help="Where the judge's weights go.")] = WEIGHTS,
    start_from: Annotated[Path | None, typer.Option(help="A judge to begin with, perhaps of a smaller world.")] = None,
) -> None:
    """Train the judge, on rendered clips alone, and print its accuracy on unseen ones. Resumes where it stopped."""
    recipe = JudgeTraining()
    frame_steps, clip_steps = (max(1, round(steps * scale)) for steps in (recipe.frame_steps, recipe.clip_steps))
    accuracy = train_judge(replace(recipe, frame_steps=frame_steps, clip_steps=clip_steps), out, start_from)
    print({name: round(share, 4) for name, share in accuracy.items()})


@app.command()
def finder(
    scale: Annotated[float, typer.Option(min=0.001, help="Length relative to the recipe's.")] = 1.0,
    out: Annotated[Path, typer.Option(help="Where the finder's weights go.")] = finding.WEIGHTS,
    start_from: Annotated[Path | None, typer.Option(help="A finder to begin with, perhaps of a smaller world.")] = None,
) -> None:
    """Train the network that finds subjects, and print its overlap with them. Resumes where it stopped."""
    print(f"overlap {finding.train_finder(max(1, round(finding.STEPS * scale)), out, start_from):.4f}")


if __name__ == "__main__":
    app(prog_name="lumiere evaluate")
