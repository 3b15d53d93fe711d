"""`python -m model.generate PROMPT`: a prompt becomes an MP4 in this process, without a service."""

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SHIPPED = Path(__file__).parent / "weights" / "lumiere-mini"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Request:
    """What was asked for; None is the model's default, or for the seed a drawn one."""

    prompt: str
    negative_prompt: str
    seed: int | None
    num_frames: int | None
    fps: float | None
    size: str | None
    num_inference_steps: int | None
    guidance_scale: float | None
    scheduler: str | None


def find_model(model: str | None, model_dirs: list[Path]) -> Path:
    """The folder that `model` names: by path, or by the id in the card of one of `model_dirs`, whose first is the
    default.
    """
    from model.checkpoint import read_card

    if model is None:
        return model_dirs[0]
    if (Path(model) / "model_index.json").exists():
        return Path(model)
    ids = {read_card(folder).get("id", folder.name): folder for folder in model_dirs}
    if model not in ids:
        raise ValueError(f"model must be a folder or one of {', '.join(ids)}, got {model!r}")
    return ids[model]


def parse_size(size: str) -> tuple[int, int]:
    """'WIDTHxHEIGHT' -> (width, height)."""
    width, separator, height = size.lower().partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise ValueError(f"size must be WIDTHxHEIGHT, e.g. 128x128, got {size!r}")
    return int(width), int(height)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the video shows.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the MP4 goes.")] = Path("lumiere.mp4"),
    negative_prompt: Annotated[str, typer.Option(help="What the video should not show.")] = "",
    seed: Annotated[int | None, typer.Option(help="Same seed, same video; drawn if not given.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Length in frames.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT.")] = None,
    num_inference_steps: Annotated[int | None, typer.Option("--num-inference-steps", "--steps")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Weight of the prompt.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Class name of a diffusers scheduler.")] = None,
    model: Annotated[str | None, typer.Option(help="Model folder, or id of one of LUMIERE_MODEL_DIRS.")] = None,
    model_dirs: Annotated[str, typer.Option(envvar="LUMIERE_MODEL_DIRS", hidden=True)] = str(SHIPPED),
) -> None:
    """Make a video from a prompt and save it as MP4, without a service."""
    request = Request(
        prompt, negative_prompt, seed, num_frames, fps, size, num_inference_steps, guidance_scale, scheduler
    )
    console = Console(stderr=True)
    try:
        if not output.parent.is_dir():
            raise ValueError(f"output: {output.parent} is not a folder")
        folder = find_model(model, [Path(folder) for folder in model_dirs.split(os.pathsep)])
        console.print(make_video(request, folder, output, console), highlight=False, markup=False, soft_wrap=True)
    except (ValueError, OSError, RuntimeError) as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def make_video(request: Request, folder: Path, output: Path, console: Console) -> str:
    """Runs the pipeline of `folder` under a progress bar, writes `output` and says what was done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("loading", total=None)
        from model.pipeline import LumierePipeline  # seconds of imports, under the bar
        from model.video_io import exact_fps, write_mp4

        started = time.perf_counter()
        pipeline = LumierePipeline.from_pretrained(folder)
        timings = {"load": time.perf_counter() - started}
        defaults = {"num_frames": 80, "fps": 16, "size": "128x128", **pipeline.card.get("defaults", {})}
        width, height = parse_size(request.size or defaults["size"])
        rate = exact_fps(defaults["fps"] if request.fps is None else request.fps)
        seed = secrets.randbits(32) if request.seed is None else request.seed

        bar.update(task, description="denoise")
        clip = pipeline.text_to_video(
            request.prompt,
            negative_prompt=request.negative_prompt,
            seed=seed,
            num_frames=defaults["num_frames"] if request.num_frames is None else request.num_frames,
            height=height,
            width=width,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            scheduler=request.scheduler,
            on_step=lambda info: bar.update(task, completed=info.step, total=info.steps),
        )
        bar.update(task, description="encode")
        started = time.perf_counter()
        write_mp4(clip.frames, output, rate)
        timings |= clip.timings | {"encode": time.perf_counter() - started}
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())
    cut = f"; the prompt was cut off after {clip.prompt_tokens_max} tokens" if clip.prompt_truncated else ""
    return f"saved {output}, seed {seed}, upscale {clip.upscale}; {stages}{cut}"


if __name__ == "__main__":
    app()
