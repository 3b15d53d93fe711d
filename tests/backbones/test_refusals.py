"""Folders that cannot be inflated: each is refused with the file or the setting named, and nothing is written."""

import json
import shutil
from pathlib import Path

import pytest
from diffusers import UNet2DConditionModel

from model.backbones.inflate import inflate_folder
from model.checkpoint import CheckpointError
from model.pipeline import LumierePipeline
from tests.backbones.folders import make_image_pipeline
from tests.model.families import FAMILIES

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory) -> Path:
    scratch = tmp_path_factory.mktemp("sd15")
    make_image_pipeline("sd15", scratch / "tokenizer").save_pretrained(scratch / "image")
    return scratch / "image"


@pytest.fixture
def folder(image_folder, tmp_path) -> Path:
    """A copy that may be broken."""
    return shutil.copytree(image_folder, tmp_path / "image")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace_unet(folder: Path, **changes: object) -> None:
    shutil.rmtree(folder / "unet")
    options = {"sample_size": 16, "norm_num_groups": 8, **FAMILIES["sd15"], **changes}
    UNet2DConditionModel(**options).save_pretrained(folder / "unet")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


REFUSED = {
    "no index": (lambda f: (f / "model_index.json").unlink(), r"model_index\.json is missing"),
    "no weights": (lambda f: (f / UNET).unlink(), r"unet holds no \.safetensors weights"),
    "only a pickle": (lambda f: (f / UNET).rename(f / "unet/diffusion_pytorch_model.bin"), r"\.bin is refused"),
    "cut weights": (lambda f: cut(f / UNET), r"unet/diffusion_pytorch_model\.safetensors is corrupt"),
    "cut VAE": (lambda f: cut(f / "vae/diffusion_pytorch_model.safetensors"), r"vae/.*is corrupt"),
    "no text encoder": (lambda f: shutil.rmtree(f / "text_encoder"), "text_encoder is missing"),
    "no tokenizer file": (lambda f: (f / "tokenizer/tokenizer.json").unlink(), "tokenizer holds no vocabulary"),
    "half a tokenizer": (
        lambda f: (f / "tokenizer/tokenizer.json").rename(f / "tokenizer/vocab.json"),
        "tokenizer holds no vocabulary",
    ),
    "another tokenizer": (
        lambda f: edit(f / "text_encoder/config.json", vocab_size=100),
        "text_encoder",
    ),
    "broken config": (lambda f: (f / "vae/config.json").write_text("{"), r"vae/config\.json cannot be read"),
    "weights of another U-Net": (
        lambda f: edit(f / "unet/config.json", block_out_channels=[16, 32, 32, 64]),
        "unet",
    ),
    "weights that are not all there": (
        lambda f: edit(f / "unet/config.json", transformer_layers_per_block=2),
        r"unet does not hold the weights that its config\.json describes",
    ),
    "another text encoder": (
        lambda f: edit(f / "text_encoder/config.json", num_hidden_layers=4),
        "text_encoder does not hold the weights",
    ),
    "inpainting": (lambda f: replace_unet(f, in_channels=9), "in_channels is 9, where 4 is needed"),
    "text of another width": (
        lambda f: replace_unet(f, cross_attention_dim=32),
        "cross_attention_dim is 32, where 24 is needed",
    ),
    "distilled guidance": (
        lambda f: replace_unet(f, time_cond_proj_dim=16),
        "time_cond_proj_dim is 16, where None is needed",
    ),
    "image variations": (
        lambda f: replace_unet(f, class_embed_type="projection", projection_class_embeddings_input_dim=8),
        "class_embed_type is 'projection'",
    ),
    "a video U-Net": (
        lambda f: edit(f / "model_index.json", unet=["diffusers", "UNetMotionModel"]),
        "its unet is a UNetMotionModel, and a UNet2DConditionModel is needed",
    ),
    "a transformer": (lambda f: edit(f / "model_index.json", unet=[None, None]), "of no family"),
    "code": (
        lambda f: edit(f / "model_index.json", vae=["evil", "AutoencoderKL"]),
        "takes vae from 'evil', and only diffusers, transformers",
    ),
    "a class that does not exist": (
        lambda f: edit(f / "model_index.json", vae=["diffusers", "AutoencoderNever"]),
        "wants AutoencoderNever for vae",
    ),
    "a class that is no component": (
        lambda f: edit(f / "model_index.json", vae=["diffusers", "StableDiffusionPipeline"]),
        "no network, scheduler or tokenizer of diffusers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(folder, tmp_path, case):
    change, message = REFUSED[case]
    change(folder)

    with pytest.raises(CheckpointError, match=message):
        inflate_folder(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_taken_over_may_be_missing(folder, tmp_path):
    edit(folder / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])

    inflate_folder(folder, tmp_path / "out")

    assert "safety_checker" not in json.loads((tmp_path / "out/model_index.json").read_text())


def test_folders_that_hold_something_are_not_written_to(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/diary.txt").write_text("mine")

    with pytest.raises(ValueError, match="exists and is not an empty folder"):
        inflate_folder(folder, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["diary.txt"]


def test_an_image_folder_is_not_loaded_as_a_video_model(folder):
    with pytest.raises(CheckpointError, match="is not of a LumierePipeline"):
        LumierePipeline.from_pretrained(folder, device="cpu")
