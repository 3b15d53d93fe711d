"""`lumiere inflate`: a text-to-image folder becomes the folder of a video model."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from model.backbones.inflate import inflate_folder
from model.one_line_errors import one_line_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Precision(StrEnum):
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


def parse_factors(text: str | None) -> tuple[int, ...] | None:
    """'2,2,1' -> (2, 2, 1)."""
    if text is None:
        return None
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise ValueError(f"temporal-factors must be whole numbers with commas between them, got {text!r}")
    return tuple(int(word) for word in words)


@app.command()
def inflate(
    t2i: Annotated[Path, typer.Option(help="Folder of a text-to-image model in diffusers' layout.")],
    out: Annotated[Path, typer.Option(help="Where the video model goes; must not exist yet.")],
    super_resolution: Annotated[
        Path | None, typer.Option(help="Folder of a second stage (DeepFloyd IF-II), which enlarges.")
    ] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of the result; as stored if not given.")] = None,
    variant: Annotated[str | None, typer.Option(help="Variant of the weights to read, e.g. fp16.")] = None,
    temporal_factors: Annotated[
        str | None,
        typer.Option(help="Temporal downsampling per level, finest first, e.g. 2,2,1; 2 at each if not given."),
    ] = None,
    temporal_hidden_ratio: Annotated[
        float, typer.Option(min=0.01, max=4, help="Width of the temporal convolutions.")
    ] = 1.0,
    temporal_attention_depth: Annotated[int, typer.Option(min=1, max=16, help="Layers per temporal attention.")] = 2,
    temporal_conditioning: Annotated[bool, typer.Option(help="Tell the temporal layers noise level and text.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the temporal layers' random weights.")] = 0,
) -> None:
    """Inflate a text-to-image model (Stable Diffusion 1 and 2, SDXL, DeepFloyd IF-I) into a video model.

    The result loads and serves like any model folder. Its temporal layers are untrained: `lumiere train clips`.
    """
    console = Console(stderr=True)
    with one_line_errors(console, ValueError, OSError):
        pipeline = inflate_folder(
            t2i,
            out,
            super_resolution=super_resolution,
            dtype=getattr(torch, dtype) if dtype else None,
            variant=variant,
            seed=seed,
            temporal_factors=parse_factors(temporal_factors),
            temporal_hidden_ratio=temporal_hidden_ratio,
            temporal_attention_depth=temporal_attention_depth,
            temporal_conditioning=temporal_conditioning,
        )
    image = sum(p.numel() for n, p in pipeline.unet.named_parameters() if "temporal_" not in n)
    temporal = sum(p.numel() for p in pipeline.unet.temporal_parameters())
    console.print(
        f"wrote {out}: {pipeline.card['backbone']}, {pipeline.card['defaults']['size']}, "
        f"{image / 1e6:.1f} M parameters of the image model, {temporal / 1e6:.1f} M temporal ones, untrained",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    app(prog_name="lumiere inflate")
