"""LoRAs made for the image model, saved by diffusers, on the video model inflated from it."""

import copy

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from model.checkpoint import CheckpointError
from model.lora import merge_lora
from model.pipeline import LumierePipeline
from model.text import encode_text
from tests.backbones.test_inflate import error_on_still_clip

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
MORE = [*ATTENTION, "proj_in", "proj_out", "conv1", "conv_in"]


def with_random_lora(network, layers: list[str], rank: int = 3, alpha: int = 3):
    network.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers, init_lora_weights=False))
    return network


def loaded(inflated) -> LumierePipeline:
    """A pipeline of its own, that may be changed."""
    return LumierePipeline.from_pretrained(inflated.folder, device="cpu")


@pytest.mark.parametrize(
    ("inflated", "layers", "alpha"), [("sd15", MORE, 6), ("sdxl", ATTENTION, 3)], indirect=["inflated"]
)
def test_a_still_clip_is_that_of_the_adapted_image_model(inflated, layers, alpha, tmp_path):
    torch.manual_seed(0)
    image_unet = UNet2DConditionModel.from_pretrained(inflated.source / "unet")
    with_random_lora(image_unet, layers, alpha=alpha)
    saver = StableDiffusionXLPipeline if inflated.family == "sdxl" else StableDiffusionPipeline
    saver.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(image_unet),
        unet_lora_adapter_metadata=image_unet.peft_config["default"].to_dict(),
    )
    pipeline = loaded(inflated)
    names = list(pipeline.unet.state_dict())
    before = error_on_still_clip(pipeline, image_unet, torch.float32)

    counts = pipeline.load_lora(tmp_path)

    assert counts == {"unet": len(load_file(tmp_path / "pytorch_lora_weights.safetensors")) // 2}
    assert before > 1e-2
    assert error_on_still_clip(pipeline, image_unet, torch.float32) <= 2e-5
    assert list(pipeline.unet.state_dict()) == names


@pytest.mark.parametrize("inflated", ["sd15"], indirect=True)
class TestOnStableDiffusion:
    @pytest.fixture
    def lora(self, inflated, tmp_path):
        """Of U-Net and text encoder."""
        torch.manual_seed(1)
        unet = with_random_lora(UNet2DConditionModel.from_pretrained(inflated.source / "unet"), ATTENTION)
        text_encoder = with_random_lora(copy.deepcopy(inflated.image.text_encoder), ["q_proj", "v_proj"])
        StableDiffusionPipeline.save_lora_weights(
            tmp_path,
            unet_lora_layers=get_peft_model_state_dict(unet),
            text_encoder_lora_layers=get_peft_model_state_dict(text_encoder),
        )
        return tmp_path / "pytorch_lora_weights.safetensors"

    def test_scale_is_a_factor(self, inflated, lora):
        name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
        original = inflated.pipeline.unet.get_parameter(name)
        changes = []
        for scale in (1.0, 0.5):
            pipeline = loaded(inflated)
            merge_lora(pipeline, lora, scale)
            changes.append(pipeline.unet.get_parameter(name) - original)

        torch.testing.assert_close(changes[1], changes[0] / 2, rtol=1e-3, atol=1e-7)
        assert changes[0].abs().max() > 1e-3

    def test_text_encoder_and_unet_and_nothing_else(self, inflated, lora):
        pipeline = loaded(inflated)

        counts = merge_lora(pipeline, lora)

        assert counts == {"unet": 128, "text_encoder": 4}
        before, after = (encode_text(p.text_encoders, ["a"]).states for p in (inflated.pipeline, pipeline))
        assert not torch.allclose(before, after)
        for name, value in pipeline.unet.named_parameters():
            adapted = ".to_" in name and name.endswith("weight") and "temporal_" not in name
            assert torch.equal(value, inflated.pipeline.unet.get_parameter(name)) != adapted, name

    def test_two_after_another(self, inflated, lora):
        one, other = loaded(inflated), loaded(inflated)
        merge_lora(one, lora, 0.25)
        merge_lora(one, lora, 0.75)
        merge_lora(other, lora, 1.0)

        for name, value in one.unet.named_parameters():
            torch.testing.assert_close(value, other.unet.get_parameter(name), rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda tensors: {f"vae.{key}": value for key, value in tensors.items()}, "adapts vae"),
            (lambda tensors: {key.replace("mid_block", "end_block"): v for key, v in tensors.items()}, "of which this"),
            (lambda tensors: {key: torch.cat([v, v], 1) for key, v in tensors.items()}, "mismatch"),
        ],
        ids=["another network", "layers it has not", "another width"],
    )
    def test_what_does_not_fit_is_refused_and_leaves_no_trace(self, inflated, lora, change, message):
        save_file(change(load_file(lora)), lora)
        pipeline = loaded(inflated)

        with pytest.raises(CheckpointError, match=message) as refused:
            merge_lora(pipeline, lora)

        assert str(lora) in str(refused.value)
        for name, value in inflated.pipeline.unet.state_dict().items():
            assert torch.equal(pipeline.unet.state_dict()[name], value)

    def test_broken_missing_and_unsafe_files(self, inflated, lora, tmp_path):
        pipeline = inflated.pipeline
        lora.write_bytes(lora.read_bytes()[:100])
        with pytest.raises(CheckpointError, match=lora.name):
            merge_lora(pipeline, lora)
        with pytest.raises(CheckpointError, match="is missing"):
            merge_lora(pipeline, tmp_path / "no.safetensors")
        (tmp_path / "lora.bin").write_bytes(b"")
        with pytest.raises(CheckpointError, match=r"only \.safetensors files"):
            merge_lora(pipeline, tmp_path / "lora.bin")
        (tmp_path / "empty").mkdir()
        with pytest.raises(CheckpointError, match="holds 0"):
            merge_lora(pipeline, tmp_path / "empty")
