"""A network made wider does what it did."""

import pytest
import torch
from torch import Tensor

from model.folding import fold
from model.generate import SHIPPED
from model.stunet import STUNet
from model.training.batches import Batch, BatchConfig, make_batch
from model.training.flow import TIMESTEPS, noised
from model.training.image_model import PATCH, ImageModelConfig, build_image_unet
from model.training.text_encoder import load_text_encoder
from model.training.widening import fit_norms, mixed_norms, widened

TEMPORAL = {"temporal_conditioning": True, "temporal_places": True, "known_channels": 4}


@pytest.fixture(scope="module")
def trained() -> STUNet:
    """Not a layer of it is at its beginning."""
    torch.manual_seed(3)
    image = build_image_unet(ImageModelConfig(channels=(16, 64), head_width=16, text_width=24))
    unet = STUNet.from_unet(image, **TEMPORAL).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape))
    return unet


def clips(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(4, 52, 6, 8, 8, generator=generator),
        1000 * torch.rand(4, generator=generator),
        torch.randn(4, 9, 24, generator=generator),
    )


def test_after_fitting_its_norms_a_wider_network_says_nearly_the_same() -> None:
    encoder, tokenizer = load_text_encoder(SHIPPED)
    unet = STUNet.from_pretrained(SHIPPED / "unet", local_files_only=True).float()
    batches = [make_batch(BatchConfig(scenes=4, frames=16, stride=5, seed=seed), tokenizer, 0) for seed in (1, 2)]
    wide = widened(unet, torch.Generator().manual_seed(0))

    def given(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        level = torch.tensor([0.6, 0.8, 0.9, 0.97])
        clean = fold(batch.pixels, PATCH)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        return noised(clean, noise, level), level * TIMESTEPS, encoder(batch.tokens).last_hidden_state

    def distance() -> float:
        with torch.no_grad():
            said, repeated = (network(*given(batches[1])).sample for network in (unet, wide))
        return float((repeated - said).std() / said.std())

    before = distance()
    fit_norms(unet, wide, *given(batches[0]))

    assert wide.config.block_out_channels[0] == 2 * unet.config.block_out_channels[0]
    assert distance() < min(0.1, 0.8 * before)


def test_all_but_the_mixed_norms_are_exact(trained: STUNet) -> None:
    wide = widened(trained, torch.Generator().manual_seed(0))
    mixed = mixed_norms(trained, wide)
    for unet in (trained, wide):
        unet.double()
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for unet in (trained, wide):
        for name in mixed:  # in both, the mixed norms are taken for what they get
            hooks.append(unet.get_submodule(name).register_forward_hook(lambda module, given, output: 0 * output))
        hooks.append(
            unet.conv_norm_out.register_forward_hook(
                lambda module, given, output: seen.setdefault("last", []).append(output)
            )
        )
    with torch.no_grad():
        for unet in (trained, wide):
            unet(*(value.double() for value in clips(seed=2)))
    for hook in hooks:
        hook.remove()
    for unet in (trained, wide):
        unet.float()

    assert mixed == ["up_blocks.0.resnets.1.norm1", "up_blocks.1.resnets.0.norm1"]
    narrow, broad = seen["last"]
    assert torch.allclose(narrow.repeat_interleave(2, 1), broad, atol=1e-5)  # codes are computed in float32


def test_what_reads_twins_weighs_them_differently(trained: STUNet) -> None:
    weight = widened(trained, torch.Generator().manual_seed(0)).conv_out.weight

    assert torch.allclose(weight[:, ::2] + weight[:, 1::2], trained.conv_out.weight, atol=1e-6)
    assert (weight[:, ::2] - weight[:, 1::2]).abs().mean() > 0.1 * weight.abs().mean()
