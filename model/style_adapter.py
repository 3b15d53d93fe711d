"""Styles as they are learned: low-rank pairs beside the frozen spatial weights (LoRA, arXiv 2106.09685, by peft).

A picture at a time, without the temporal layers, as the styles of Lumiere (section 4.1) were made for its image model.
"""

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file
from torch import Tensor, nn

from model.style import WORD


def with_adapter(network: UNet2DConditionModel, rank: int, seed: int = 0) -> dict[str, nn.Parameter]:
    """Puts a pair of factors beside each convolution and linear layer; the network does as before until they are
    trained. Returns them by name, in float32. seed: of the first factors; the second ones are 0.
    """
    layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers), network)
    factors = {name: value for name, value in network.named_parameters() if "lora_" in name}
    for value in factors.values():
        value.data = value.data.float()
    return factors


def save_style(
    network: UNet2DConditionModel, path: Path, about: dict[str, str], share: float = 1.0, word: Tensor | None = None
) -> None:
    """Writes the adapter of `network` as a style that `model.style` reads. `path` appears whole or not at all.

    about: texts that are stored with it. share: of the factors that were learned, that the style has at strength 1.
    word: see `model.style.Style`.
    """
    factors = {name: value.detach() for name, value in get_peft_model_state_dict(network).items()}
    shared = {name: value * share if ".lora_B." in name else value for name, value in factors.items()}
    tensors = {name: value.to("cpu", torch.bfloat16).contiguous() for name, value in shared.items()}
    if word is not None:
        tensors[WORD] = word.detach().to("cpu", torch.bfloat16).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, metadata={"style": json.dumps(about)})  # several keys would be in random order
    partial.replace(path)
