"""Styles: spatial weights put in the place of the image model's own, as far as `strength` says (Lumiere, section 4.1).

W = a W_style + (1 - a) W_image. The temporal layers were trained beside the image model's weights and stay as they are.
A style is a safetensors file with whole tensors under the network's own names, or with low-rank pairs (LoRA) as peft
and diffusers write them. One that was learned from a picture holds a word for it, too: what is added to the states of
every token of a prompt.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from model.checkpoint import CheckpointError


class LowRank(NamedTuple):
    """W_style = W_image + scale * up @ down, convolutions flattened to matrices."""

    down: Tensor
    up: Tensor
    scale: float

    def added_to(self, weight: Tensor) -> Tensor:
        up, down = (factor.to(weight.device).flatten(1).float() for factor in (self.up, self.down))
        return weight + (self.scale * (up @ down)).reshape(weight.shape).to(weight)


WORD = "word"
"""The name in files of `Style.word`."""


class Style(NamedTuple):
    """weights: what stands for the network's parameters of these names. word: (d,), added to each state of a prompt."""

    weights: Mapping[str, Tensor | LowRank]
    word: Tensor | None = None


def style_slug(name: str) -> str:
    """A style's name as folders and requests write it: "Melting gold" is "melting-gold"."""
    return "-".join(name.lower().split())


def style_path(folder: Path, slug: str) -> Path:
    """Where a model folder holds the style."""
    return folder / "styles" / slug / "weights.safetensors"


def find_styles(folder: Path) -> dict[str, Path]:
    """The styles beside a model: name -> file."""
    return {path.parent.name: path for path in sorted(folder.glob("styles/*/weights.safetensors"))}


def read_style(path: Path, network: Any) -> Style:
    """Raises CheckpointError for a file that is broken or is not for `network`."""
    try:
        tensors = {name.removeprefix("unet."): value for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    word = tensors.pop(WORD, None)
    width = text_width(network)
    if word is not None and word.shape != (width,):
        raise CheckpointError(f"{path}: {WORD} has shape {tuple(word.shape)}, this model's texts have width {width}")
    style: dict[str, Tensor | LowRank] = {}
    for name, value in tensors.items():
        if name.endswith(".lora_A.weight"):
            layer = name.removesuffix(".lora_A.weight")
            up = tensors.get(f"{layer}.lora_B.weight")
            if up is None:
                raise CheckpointError(f"{path} holds {name} without its lora_B")
            alpha = tensors.get(f"{layer}.alpha")
            scale = 1.0 if alpha is None else float(alpha) / value.shape[0]
            style[f"{layer}.weight"] = LowRank(value, up, scale)
        elif not name.endswith((".lora_B.weight", ".alpha")):
            style[name] = value
    parameters = dict(network.named_parameters())
    for name, stands_in in style.items():
        if name not in parameters or "temporal_" in name:
            raise CheckpointError(f"{path} holds {name}, which is no spatial weight of this model")
        shape = parameters[name].shape
        fits = stands_in.shape == shape if isinstance(stands_in, Tensor) else low_rank_fits(stands_in, shape)
        if not fits:
            raise CheckpointError(f"{path}: {name} does not have this model's shape {tuple(shape)}")
    if not style and word is None:
        raise CheckpointError(f"{path} holds no weights")
    return Style(style, word)


def text_width(network: Any) -> int:
    """Of the states that the network is told; DeepFloyd IF projects them to what it attends to."""
    return network.config.encoder_hid_dim or network.config.cross_attention_dim


def low_rank_fits(pair: LowRank, shape: torch.Size) -> bool:
    rank_fits = pair.up.flatten(1).shape[1] == pair.down.shape[0] and pair.up.shape[0] == shape[0]
    return rank_fits and pair.up.shape[0] * pair.down.flatten(1).shape[1] == shape.numel()


@contextmanager
@torch.no_grad()
def styled(network: nn.Module, style: Style, strength: float) -> Iterator[None]:
    """The network with the weights of `style` in it. The original ones are put back bit by bit, however the block is
    left.
    """
    parameters = dict(network.named_parameters())
    originals = {name: parameters[name].detach().clone() for name in style.weights}
    try:
        for name, stands_in in style.weights.items():
            original = originals[name]
            target = stands_in.to(original) if isinstance(stands_in, Tensor) else stands_in.added_to(original)
            parameters[name].copy_(torch.lerp(original, target, strength))
        yield
    finally:
        for name, original in originals.items():
            parameters[name].copy_(original)
