"""A trained network made wider without losing what it does (Net2WiderNet: Chen, Goodfellow, Shlens, arXiv 1511.05641).

Each channel of the finest level becomes two, and what reads it takes a share of both. Shares differ from weight to
weight, so that twins part in training. Two things are not what they were: norms in whose groups channels of the finest
level meet others, which are fitted to what they gave before; and where two levels come to one width, the projection
beside the block between them is gone, for which training has to make up.
"""

from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from model.folding import fold
from model.stunet import STUNet
from model.training.batches import BatchConfig, make_batch
from model.training.flow import TIMESTEPS, noised, sample_times
from model.training.image_model import PATCH
from model.training.text_encoder import load_text_encoder

READS_CODES = ("time_embedding.linear_1", ".moment", ".place.proj")
"""Layers whose input is a sinusoidal code, in which a code of half as many channels is contained."""
UNEVENNESS = 0.25
"""How far a share may be from a half."""
FITTED_ON = BatchConfig(scenes=24, frames=16, stride=5, seed=99)
FITTED_AT = 8.0
"""Clips on which norms are fitted, and the shift of their noise levels."""


def widened(unet: STUNet, generator: Generator) -> STUNet:
    """`unet` with twice as many channels at its finest level. Its norms are to be fitted next; see `fit_norms`."""
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    first, *others = config["block_out_channels"]
    heads = config["attention_head_dim"]
    if isinstance(heads, (list, tuple)):
        heads = (2 * heads[0], *heads[1:])
    wide = STUNet.from_config({**config, "block_out_channels": (2 * first, *others), "attention_head_dim": heads})
    trained, grown = unet.state_dict(), {}
    for name, slot in wide.state_dict().items():
        reads_code = any(name.endswith(f"{layer}.weight") for layer in READS_CODES)
        before = trained[name].float() if name in trained else identity(slot, first)
        grown[name] = grow(before, slot.shape, reads_code, generator)
    wide.load_state_dict(grown)
    return wide.eval()


def identity(slot: Tensor, channels: int) -> Tensor:
    """Of a projection that a block lacked as long as it had as many channels before as behind it."""
    if slot.ndim == 1:
        return torch.zeros_like(slot)
    return torch.eye(slot.shape[0], slot.shape[1] - channels)[:, :, None, None]


def grow(weight: Tensor, shape: torch.Size, reads_code: bool, generator: Generator) -> Tensor:
    """A weight for layers of `shape`, whose sides are as long as before, or longer as the last channels are doubled."""
    if shape[0] > weight.shape[0]:
        weight = weight[twins(weight.shape[0], shape[0])]
    if weight.ndim > 1 and shape[1] > weight.shape[1]:
        if reads_code:
            return spread_code(weight, shape)
        weight = weight[:, twins(weight.shape[1], shape[1])] * shares(shape, shape[1] - weight.shape[1], generator)
    if weight.shape != shape:
        raise ValueError(f"cannot grow a weight to {tuple(shape)}: it comes to {tuple(weight.shape)}")
    return weight


def twins(before: int, after: int) -> Tensor:
    """Which of `before` channels each of `after` is: the last ones have become two each."""
    doubled = after - before
    return torch.cat([torch.arange(before - doubled), torch.arange(before - doubled, before).repeat_interleave(2)])


def shares(shape: torch.Size, doubled: int, generator: Generator) -> Tensor:
    """What weights of `shape` take of each channel, the last `doubled` pairs of which are twins."""
    uneven = UNEVENNESS * (2 * torch.rand(shape[0], doubled, *shape[2:], generator=generator) - 1)
    of_twins = torch.stack([0.5 + uneven, 0.5 - uneven], dim=2).flatten(1, 2)
    return torch.cat([torch.ones(shape[0], shape[1] - 2 * doubled, *shape[2:]), of_twins], dim=1)


def spread_code(weight: Tensor, shape: torch.Size) -> Tensor:
    """Input channels go where the same waves are in a code of twice as many: sines first, then cosines, each from fast
    to slow.
    """
    wide = torch.zeros(shape)
    wide[:, ::2] = weight
    return wide


def mixed_norms(unet: STUNet, wide: STUNet) -> list[str]:
    """Norms over channels of which some, not all, have become two."""
    widths = {name: len(module.weight) for name, module in unet.named_modules() if isinstance(module, nn.GroupNorm)}
    after = {name: len(wide.get_submodule(name).weight) for name in widths}
    return [name for name, width in widths.items() if width < after[name] < 2 * width]


@torch.no_grad()
def fit_norms(unet: STUNet, wide: STUNet, *inputs: Tensor) -> None:
    """Fits scale and shift of each channel of mixed norms so that they give what they gave in `unet` on `inputs`."""
    for name in mixed_norms(unet, wide):
        target = output_of(unet, name, *inputs)
        target = target[:, twins(target.shape[1], len(wide.get_submodule(name).weight))]
        given = output_of(wide, name, *inputs)
        axes = (0, *range(2, given.ndim))
        spread = [value - value.mean(axes, keepdim=True) for value in (given, target)]
        slope = (spread[0] * spread[1]).sum(axes) / spread[0].square().sum(axes).clamp(min=1e-12)
        norm = wide.get_submodule(name)
        norm.bias.copy_(target.mean(axes) + slope * (norm.bias - given.mean(axes)))
        norm.weight.mul_(slope)


def output_of(unet: STUNet, name: str, *inputs: Tensor) -> Tensor:
    outputs: list[Tensor] = []
    hook = unet.get_submodule(name).register_forward_hook(lambda module, given, output: outputs.append(output))
    unet(*inputs)
    hook.remove()
    return torch.cat(outputs)


def widen_model(model: Path, out: Path) -> None:
    """Writes the network of the finished `model` folder, twice as wide at its finest level, as `unet/` below `out`."""
    encoder, tokenizer = load_text_encoder(model)
    unet = STUNet.from_pretrained(model / "unet", local_files_only=True).float().eval()
    wide = widened(unet, Generator().manual_seed(0))
    batch = make_batch(FITTED_ON, tokenizer, 0)
    generator = Generator().manual_seed(0)
    level = sample_times(len(batch.tokens), FITTED_AT, generator)
    clean = fold(batch.pixels, PATCH)
    noise = torch.randn(clean.shape, generator=generator)
    fit_norms(unet, wide, noised(clean, noise, level), level * TIMESTEPS, encoder(batch.tokens).last_hidden_state)
    wide.save_pretrained(out / "unet")
