"""`lumiere train`: the stages of the shipped model's recipe, one command each, and `mini` for all of them in order."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from typer.core import TyperGroup

from model.finetune.__main__ import clips
from model.training.assemble import assemble
from model.training.conditioned import ConditionedConfig, train_conditioned_model
from model.training.image_model import ImageModelConfig, train_image_model
from model.training.session import Schedule
from model.training.styles import WORLD_STYLES, StyleConfig, train_style
from model.training.super_resolution import SuperResolutionConfig, train_super_resolution
from model.training.text_encoder import TextEncoderConfig, load_text_encoder, train_text_encoder
from model.training.usual_colours import teach_usual_colours
from model.training.video_model import VideoModelConfig, train_video_model
from model.training.widening import widen_model


class Stages(TyperGroup):
    """`lumiere train --data DIR` is `lumiere train clips --data DIR`: nothing but one's own clips has data to name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args[:1] and not args[0].startswith("-")
        on_clips = not named and any(word.split("=")[0] == "--data" for word in args)
        return super().parse_args(ctx, ["clips", *args] if on_clips else args)


app = typer.Typer(
    name="lumiere train",
    cls=Stages,
    help="Train lumiere-mini stage by stage or, with --data, any model on your clips. Each resumes where it stopped.",
)

app.command()(clips)

Folder = Annotated[Path, typer.Option(help="Where checkpoints, logs, sample pictures and results go.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Scale = Annotated[float, typer.Option(min=0.001, max=100, help="Length of the stage relative to the recipe's.")]
StartFrom = Annotated[Path | None, typer.Option(help="A finished model folder to begin with.")]
Seconds = Annotated[float | None, typer.Option(help="Stop (resumably) after so many seconds.")]

RUN = Path("runs/mini")


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def scaled(schedule: Schedule, scale: float) -> Schedule:
    steps = max(1, round(schedule.steps * scale))
    return replace(schedule, steps=steps, warmup=min(schedule.warmup, steps // 5 + 1))


@app.command()
def text(folder: Folder = RUN, scale: Scale = 1.0, start_from: StartFrom = None) -> None:
    """Stage 0: tokenizer and text encoder, on captions alone."""
    config = TextEncoderConfig()
    accuracy = train_text_encoder(replace(config, steps=max(1, round(config.steps * scale))), folder, start_from)
    print("read off unseen captions:", {name: round(share, 4) for name, share in accuracy.items()})


@app.command(name="usual-colours")
def usual_colours(folder: Folder = RUN, scale: Scale = 1.0) -> None:
    """For a text encoder trained before captions left usual colours unsaid: teaches it them, and nothing else."""
    encoder, tokenizer = load_text_encoder(folder)
    teach_usual_colours(encoder, tokenizer, max(1, round(500 * scale))).save_pretrained(folder / "text_encoder")


@app.command()
def images(
    folder: Folder = RUN,
    device: Device = DEVICE,
    scale: Scale = 1.0,
    seconds: Seconds = None,
    start_from: StartFrom = None,
) -> None:
    """Stage 1: the text-to-image U-Net, on single frames."""
    config = ImageModelConfig()
    schedule = scaled(config.schedule, scale)
    train_image_model(replace(config, schedule=schedule), folder, device, seconds, start_from)


@app.command()
def widen(
    model: Annotated[Path, typer.Argument(help="A finished model folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for the wider network, to start stages from.")],
) -> None:
    """Doubles the channels of a trained network's finest level, so that training goes on in a larger one."""
    widen_model(model, out)


@app.command()
def video(folder: Folder = RUN, device: Device = DEVICE, scale: Scale = 1.0, start_from: StartFrom = None) -> None:
    """Stage 2: inflate, freeze the image layers, train the temporal ones."""
    config = VideoModelConfig()
    phases = tuple(replace(phase, schedule=scaled(phase.schedule, scale)) for phase in config.phases)
    train_video_model(replace(config, phases=phases), folder, device, start_from=start_from)


@app.command()
def conditioned(
    folder: Folder = RUN,
    device: Device = DEVICE,
    scale: Scale = 1.0,
    seconds: Seconds = None,
    start_from: StartFrom = None,
) -> None:
    """Stage 3: the video model learns to be told what is known: frames, regions, borders."""
    config = ConditionedConfig()
    phases = tuple(replace(phase, schedule=scaled(phase.schedule, scale)) for phase in config.phases)
    train_conditioned_model(replace(config, phases=phases), folder, device, seconds, start_from)


@app.command(name="super-resolution")
def super_resolution(
    folder: Folder = RUN,
    device: Device = DEVICE,
    scale: Scale = 1.0,
    seconds: Seconds = None,
    start_from: StartFrom = None,
) -> None:
    """Stage 4: from 32 to 256 pixels. Needs stages 0 and 1."""
    config = SuperResolutionConfig()
    config = replace(config, schedule=scaled(config.schedule, scale))
    for name, measured in train_super_resolution(config, folder, device, seconds, start_from).items():
        print(f"{name}: {measured.psnr:.2f} dB, sharpness {measured.sharpness:.2f} of the true frames'")


@app.command()
def style(
    names: Annotated[list[str], typer.Argument(help="Styles of the world, or `all` of them.")],
    model: Annotated[Path, typer.Option(help="Folder of a finished model, which gets the styles.")],
    folder: Folder = RUN,
    device: Device = DEVICE,
    scale: Scale = 1.0,
) -> None:
    """After assembling: spatial weights in one style, as small files beside the model."""
    config = StyleConfig()
    config = replace(config, schedule=scaled(config.schedule, scale))
    for name in WORLD_STYLES if names == ["all"] else names:
        print(f"wrote {train_style(config, name, model, folder, device)}")


@app.command(name="assemble")
def assemble_command(
    out: Annotated[Path, typer.Argument(help="Folder of the finished model.")], folder: Folder = RUN
) -> None:
    """Writes the trained parts as a folder that the service and the library load."""
    assemble(folder, out)


@app.command()
def mini(
    out: Annotated[Path, typer.Argument(help="Folder of the finished model.")],
    folder: Folder = RUN,
    device: Device = DEVICE,
    scale: Scale = 1.0,
) -> None:
    """All stages in order: text, images, video, conditioned, super-resolution, assemble."""
    if not (folder / "text_encoder").exists():
        text(folder, scale)
    images(folder, device, scale)
    video(folder, device, scale)
    conditioned(folder, device, scale)
    super_resolution(folder, device, scale)
    assemble(folder, out)


if __name__ == "__main__":
    app(prog_name="lumiere train")
