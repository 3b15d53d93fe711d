"""Model folders that cannot be used are refused, with the file named."""

import json
import pickle
import shutil

import pytest
import torch

from model.checkpoint import (
    CheckpointError,
    default_dtype,
    read_card,
    verify_manifest,
    write_manifest,
)
from model.pipeline import LumierePipeline
from tests.model.tiny import CARD

UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy that may be broken."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def load(folder) -> LumierePipeline:
    return LumierePipeline.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize("missing", [
    "model_index.json", "unet/config.json", UNET_WEIGHTS, "text_encoder/model.safetensors",
    "text_encoder/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json",
])  # fmt: skip
def test_missing_files(folder, missing):
    (folder / missing).unlink()

    with pytest.raises(CheckpointError, match=missing.split("/")[0]):
        load(folder)


@pytest.mark.parametrize("component", ["unet", "text_encoder", "tokenizer", "scheduler"])
def test_missing_components(folder, component):
    shutil.rmtree(folder / component)

    with pytest.raises(CheckpointError, match=rf"{component} is missing"):
        load(folder)


@pytest.mark.parametrize("corrupt", [
    "model_index.json", "unet/config.json", UNET_WEIGHTS, "text_encoder/model.safetensors",
    "scheduler/scheduler_config.json", "tokenizer/tokenizer.json", "lumiere.json",
])  # fmt: skip
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"\0" * len(b)], ids=["cut", "zeros"])
def test_corrupt_files(folder, corrupt, damage):
    path = folder / corrupt
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(CheckpointError, match=corrupt.split("/")[0]):
        load(folder)


def test_weights_of_another_model(folder):
    config = json.loads((folder / "unet/config.json").read_text())
    config["block_out_channels"] = [16, 64]
    (folder / "unet/config.json").write_text(json.dumps(config))

    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(folder)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt", "model.pt", "model.pkl"])
def test_pickles_are_never_opened(folder, name, tmp_path):
    (folder / UNET_WEIGHTS).unlink()
    proof = tmp_path / "code-ran"

    class Trap:
        def __reduce__(self):
            return open, (str(proof), "w")

    (folder / "unet" / name).write_bytes(pickle.dumps(Trap()))

    with pytest.raises(CheckpointError, match=name):
        load(folder)
    assert not proof.exists()


def test_code_in_the_folder_is_never_run(folder, tmp_path):
    proof = tmp_path / "code-ran"
    code = f"open({str(proof)!r}, 'w')\n"
    for place in ("pipeline.py", "unet/stunet.py", "unet/evil.py"):
        (folder / place).write_text(code)
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"] = ["evil", "STUNet"]
    (folder / "model_index.json").write_text(json.dumps(index))

    with pytest.raises(CheckpointError):
        load(folder)
    assert not proof.exists()


def test_an_image_model_as_unet(folder):
    from tests.model.families import image_unet

    shutil.rmtree(folder / "unet")
    image_unet("sd15").save_pretrained(folder / "unet")

    with pytest.raises(CheckpointError, match="from_unet"):
        load(folder)


def test_not_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")


def test_manifest(folder):
    verify_manifest(folder)
    write_manifest(folder)
    verify_manifest(folder)
    path = folder / UNET_WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors is not the file"):
        verify_manifest(folder)


def test_card(folder):
    assert read_card(folder) == CARD
    (folder / "lumiere.json").unlink()
    assert read_card(folder) == {}


@pytest.mark.parametrize(
    ("tiles", "vectors", "expected"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_precision_is_one_the_device_computes_in(monkeypatch, tiles, vectors, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)

    assert default_dtype("cpu") == expected
