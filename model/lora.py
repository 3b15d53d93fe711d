"""Low-rank adaptations (LoRA, arXiv 2106.09685) made for the image model, merged into the video model's weights.

diffusers' own loaders read them, in its own layout and in that of the usual trainers (`lora_unet_…`, `lora_te_…`). They
fit because the video model's image layers bear the image model's names. Merged, they cost nothing at every step, and
names and number of the weights stay as they were.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import diffusers.loaders
import torch
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from model.checkpoint import CheckpointError
from model.loading import naming

FILE_NAME = "pytorch_lora_weights.safetensors"
SECOND_FACTOR = re.compile(r"lora_B\b|lora[._]up\b|_lora\.up\b|lora_linear_layer\.up\b")
"""In the key of the second factor of each adapted layer, one per layer."""


def merge_lora(pipeline: Any, source: str | Path, scale: float = 1.0) -> dict[str, int]:
    """Adds `scale` times the LoRA of `source` to the pipeline's weights; only loading the model again undoes it.

    source: a safetensors file, or a folder that holds one. Returns the number of adapted layers by network.

    Raises CheckpointError, with the pipeline unchanged, for a file that is missing, broken, or not for this model.
    """
    path = lora_file(Path(source))
    loader = loader_for(pipeline)
    with naming(path):
        tensors, alphas, metadata = loader.lora_state_dict(
            str(path.parent),
            weight_name=path.name,
            unet_config=pipeline.unet.config,
            use_safetensors=True,
            local_files_only=True,
            return_lora_metadata=True,
        )
    networks = {
        name: getattr(pipeline, name)
        for name in ("unet", "text_encoder", "text_encoder_2")
        if getattr(pipeline, name, None) is not None
    }
    strangers = sorted({key.split(".")[0] for key in tensors} - networks.keys())
    if strangers or not tensors:
        raise CheckpointError(
            f"{path} adapts {', '.join(strangers) or 'nothing'}; this model has {', '.join(networks)}"
        )
    try:
        with naming(path):
            counts = {
                name: adapt(loader, name, network, of(name, tensors), alphas, metadata, path)
                for name, network in networks.items()
                if of(name, tensors)
            }
            with torch.no_grad():
                for layer in adapted_layers(networks.values()):
                    layer.scale_layer(scale)
                    layer.merge()
    finally:
        for name, network in networks.items():
            if of(name, tensors):
                recurse_remove_peft_layers(network)
                forget_adapters(network)
    return counts


def lora_file(source: Path) -> Path:
    if not source.is_dir():
        if not source.is_file():
            raise CheckpointError(f"{source} is missing")
        if source.suffix != ".safetensors":
            raise CheckpointError(f"{source} is refused: only .safetensors files are read")
        return source
    files = sorted(source.glob("*.safetensors"))
    if source / FILE_NAME in files:
        return source / FILE_NAME
    if len(files) != 1:
        raise CheckpointError(f"{source} holds {len(files)} .safetensors files, none of them {FILE_NAME}: name one")
    return files[0]


def loader_for(pipeline: Any) -> Any:
    """The mixin of diffusers that knows the layouts of this family's LoRAs."""
    two = getattr(pipeline, "text_encoder_2", None) is not None
    return (
        diffusers.loaders.StableDiffusionXLLoraLoaderMixin if two else diffusers.loaders.StableDiffusionLoraLoaderMixin
    )


def of(network: str, tensors: Mapping[str, Any] | None) -> dict[str, Any]:
    """What concerns one network, by the prefix of its keys."""
    return {key: value for key, value in (tensors or {}).items() if key.startswith(f"{network}.")}


def adapt(
    loader: Any,
    name: str,
    network: nn.Module,
    tensors: dict[str, Tensor],
    alphas: dict[str, float] | None,
    metadata: dict[str, Any] | None,
    path: Path,
) -> int:
    """Puts adapter layers into one network and returns how many."""
    if metadata:
        # what was "proj_out" in the image model would be temporal layers here too: by their full names
        layers = {key.removeprefix(f"{name}.").split(".lora_")[0] for key in tensors}
        metadata = {**metadata, f"{name}.target_modules": sorted(layers)}
    if name == "unet":
        loader.load_lora_into_unet(tensors, alphas, network, metadata=metadata)
    else:
        loader.load_lora_into_text_encoder(tensors, alphas, network, prefix=name, metadata=metadata)
    wanted = sum(1 for key in tensors if SECOND_FACTOR.search(key))
    found = sum(1 for _ in adapted_layers([network]))
    if found != wanted:
        raise CheckpointError(f"{path} adapts {wanted} layers of the {name}, of which this model has {found}")
    return found


def adapted_layers(networks: Any) -> Iterator[Any]:
    return (module for network in networks for module in network.modules() if isinstance(module, BaseTunerLayer))


def forget_adapters(network: nn.Module) -> None:
    """Removes what the loaders note on a network beside its layers."""
    for note in ("peft_config", "_hf_peft_config_loaded"):
        network.__dict__.pop(note, None)
