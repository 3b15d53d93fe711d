"""Model folders in diffusers' layout: what they must hold, and where their weights run. Safetensors only, no code, no
pickle.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging

MANIFEST = "SHA256SUMS"
SHARD = "4GB"
"""The largest file of weights that is written."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class CheckpointError(ValueError):
    """A model folder cannot be used. The message names the file."""


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device computes in it; elsewhere it would be emulated, a hundred times slower than float32."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return torch.float32


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Loading a local folder takes a moment; the libraries' bars for it only litter a worker's log."""
    libraries = [logging for logging in (diffusers_logging, transformers_logging) if logging.is_progress_bar_enabled()]
    for logging in libraries:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging in libraries:
            logging.enable_progress_bar()


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """`path` appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_card(folder: Path) -> dict[str, Any]:
    """`lumiere.json`, which says what a model is served as; {} if the folder has none."""
    path = folder / "lumiere.json"
    return read_json(path) if path.exists() else {}


def check_folder(folder: Path, wanted: Collection[str] | None = None) -> None:
    """Raises CheckpointError unless every component that `model_index.json` names is there, with whole safetensors
    weights. wanted: the components to look at; None is all.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder")
    index = read_json(folder / "model_index.json")
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or value[0] is None:
            continue
        if wanted is not None and name not in wanted:
            continue
        component = folder / name
        if not component.is_dir():
            raise CheckpointError(f"{component} is missing, though model_index.json names it")
        configs = sorted(component.glob("*.json"))
        if not configs:
            raise CheckpointError(f"{component} holds no configuration (.json)")
        for path in configs:
            read_json(path)
        if (component / "config.json").exists():  # a network
            check_weights(component)


def check_weights(component: Path) -> None:
    shards = sorted(component.glob("*.safetensors"))
    for path in component.glob("*.safetensors.index.json"):
        wanted = set(read_json(path).get("weight_map", {}).values())
        missing = sorted(wanted - {shard.name for shard in shards})
        if missing:
            raise CheckpointError(f"{component / missing[0]} is missing, though {path.name} names it")
    if not shards:
        pickles = [path for path in component.iterdir() if path.suffix in PICKLES]
        if pickles:
            raise CheckpointError(f"{pickles[0]} is refused: it may run code when loaded; convert it to safetensors")
        raise CheckpointError(f"{component} holds no .safetensors weights")
    for shard in shards:
        try:
            with safe_open(shard, framework="pt") as weights:
                weights.keys()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{shard} is corrupt: {error}") from error


def manifest_lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            with path.open("rb") as file:
                yield f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(folder).as_posix()}"


def write_manifest(folder: Path) -> Path:
    """Writes the checksums of all files in the format of `sha256sum`."""
    path = folder / MANIFEST
    path.write_text("\n".join(manifest_lines(folder)) + "\n")
    return path


def verify_manifest(folder: Path) -> None:
    """Raises CheckpointError naming the first file that is not what the folder's manifest says; passes without a
    manifest.
    """
    path = folder / MANIFEST
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        digest, _, name = line.partition("  ")
        try:
            with (folder / name).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(f"{folder / name} cannot be read: {error.strerror}") from error
        if actual != digest:
            raise CheckpointError(f"{folder / name} is not the file that {MANIFEST} lists")
