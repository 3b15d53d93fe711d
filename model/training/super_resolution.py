"""The super-resolution stage: from 32 to 256 pixels, on few frames of the world, with the low resolution made worse in
the ways in which a base model is: drawn by the image model itself from noised frames, a little soft, a little noisy.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import EllipsisType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from einops import rearrange
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from model.folding import fold, unfold
from model.super_resolution import Settings, SuperResolution, enlarge
from model.training.batches import Batch, BatchConfig, batch_loader, make_batch
from model.training.flow import TIMESTEPS, flow_loss, mixed_precision, noised, sample_times
from model.training.image_model import PATCH, build_unet, folded_stills, save_picture_row
from model.training.session import Schedule, Session
from model.training.text_encoder import load_text_encoder

HELD_OUT_SEED = 990_001
SETTINGS: dict[str, Any] = {"steps": 1, "augmentation": 0.0}
"""What it is used with (`Settings`): it is trained near pure noise alone, and more noise on its input is more grain."""

Window = tuple[EllipsisType, slice, slice]
"""Rows and columns of a crop."""


@dataclass(frozen=True)
class SuperResolutionConfig:
    channels: tuple[int, ...] = (64, 96, 128)
    head_width: int = 64
    text_width: int = 128
    scale: int = 8
    patch: int = 8
    residual_spread: float = 0.17
    crop: int = 128
    """Side of the square that is cut out of the frames: the network is convolutional but for its coarsest level."""
    shift: float = 20.0
    augmentation: float = 0.15
    """The most noise that is added to the low resolution."""
    softness: float = 0.6
    """The largest share of a blurred copy in the low resolution."""
    redrawn: float = 0.6
    """Share of the clips whose low resolution is the image model's estimate."""
    redrawn_from: float = 0.5
    """The highest noise level that it estimates from."""
    data: BatchConfig = field(default_factory=lambda: BatchConfig(scenes=3, frames=8, anywhere=True, size=256, seed=3))
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=3000, learning_rate=1.5e-3, sample_every=250, ema_decay=0.995)
    )


class Sharpness(NamedTuple):
    """Of held-out clips. psnr: in dB against the true frames. sharpness: mean absolute Laplacian relative to theirs."""

    psnr: float
    sharpness: float


def build_network(config: SuperResolutionConfig) -> SuperResolution:
    cells = 3 * config.patch**2
    image = build_unet(
        config.channels,
        config.head_width,
        sample_size=config.data.size // config.patch,
        in_channels=cells + 3 * (config.patch // config.scale) ** 2,
        out_channels=cells,
        cross_attention_dim=config.text_width,
        class_embed_type="timestep",
    )
    network = SuperResolution.from_unet(
        image,
        temporal_factors=(1,) * (len(config.channels) - 1),
        temporal_hidden_ratio=0.5,
        temporal_attention_depth=1,
        scale=config.scale,
        patch_size=config.patch,
        residual_spread=config.residual_spread,
    )
    with torch.no_grad():  # the first guess is the interpolation itself
        network.conv_out.weight.zero_()
        network.conv_out.bias.zero_()
    return network


def low_resolution(pixels: Tensor, scale: int) -> Tensor:
    """(n, 3, t, H, W) -> (n, 3, t, h, w) by averaging."""
    return F.avg_pool3d(pixels, (1, scale, scale))


def degraded(low: Tensor, softness: Tensor, augmentation: Tensor, generator: torch.Generator) -> Tensor:
    """Mixed with its blurred copy by `softness` (n,), then with noise of standard deviation `augmentation` (n,)."""
    rows = (-1, 1, 1, 1, 1)
    blurred = F.avg_pool3d(F.pad(low, (1, 1, 1, 1, 0, 0), mode="replicate"), (1, 3, 3), 1)
    soft = torch.lerp(low, blurred, softness.view(rows))
    return soft + augmentation.view(rows) * torch.randn(low.shape, generator=generator).to(low)


@torch.no_grad()
def redraw(painter: UNet2DConditionModel, low: Tensor, level: Tensor, text: Tensor, noise: Tensor) -> Tensor:
    """Clips (n, 3, t, h, w) as the image model sees them when they are noised to `level` (n,): right where it is sure,
    its own guess where it is not. All frames of a clip get the same `noise` (n, cells, h', w'), so that errors stay.
    """
    frames = low.shape[2]
    levels = level.repeat_interleave(frames)
    noisy = noised(folded_stills(low), noise.repeat_interleave(frames, 0), levels)
    guess = painter(noisy, levels * TIMESTEPS, text.repeat_interleave(frames, 0)).sample.clamp(-1, 1)
    stills = unfold(guess.unsqueeze(2), PATCH).squeeze(2)
    return rearrange(stills, "(n t) c h w -> n c t h w", t=frames)


def train_super_resolution(
    config: SuperResolutionConfig,
    folder: Path,
    device: str = "cpu",
    stop_after: float | None = None,
    start_from: Path | None = None,
) -> dict[str, Sharpness]:
    """Trains (or goes on training), writes `super_resolution/` below `folder`, which already holds the text encoder
    and the image model, and returns how sharp it and bicubic interpolation are on held-out clips.

    `start_from`: a finished model folder whose super-resolution a new run begins with.
    """
    torch.manual_seed(config.data.seed)
    encoder, tokenizer = load_text_encoder(folder)
    encoder.to(device)
    painter = UNet2DConditionModel.from_pretrained(folder / "unet2d", local_files_only=True).to(device).eval()
    held_out = held_out_clips(config, tokenizer, device)  # paints the sprites, before the loader is forked
    network = build_network(config)
    if start_from is not None:
        trained = SuperResolution.from_pretrained(start_from / "super_resolution", local_files_only=True)
        network.load_state_dict(trained.float().state_dict())
    network = network.to(device).eval()
    session = Session(folder / "super-resolution", dict(network.named_parameters()), config.schedule)
    session.resume()

    def loss_of(batch: Batch, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(config.data.seed * 7919 + step)
        text = encoder(batch.tokens.to(device)).last_hidden_state
        n = len(text)
        softness, augmentation, drawn_from = (
            limit * torch.rand(n, generator=generator).to(device)
            for limit in (config.softness, config.augmentation, config.redrawn_from)
        )
        low = low_resolution(batch.pixels.to(device), config.scale)
        cells = (3 * PATCH**2, low.shape[-2] // PATCH, low.shape[-1] // PATCH)
        drawn = redraw(painter, low, drawn_from, text, torch.randn(n, *cells, generator=generator).to(device))
        is_drawn = torch.rand(n, 1, 1, 1, 1, generator=generator).to(device) < config.redrawn
        low = degraded(torch.where(is_drawn, drawn, low), softness, augmentation, generator)
        low_cut, cut = random_square(config, generator)
        low, pixels = low[low_cut], batch.pixels[cut].to(device)
        clean = network.to_residual(pixels, network.interpolated(low))
        salience = fold(batch.salience[cut].expand_as(pixels), config.patch).to(device)
        level = sample_times(n, config.shift, generator).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        with mixed_precision(device):
            predicted = network.predict(
                noised(clean, noise, level), low, level, augmentation, encoder_hidden_states=text
            )
        return flow_loss(predicted, clean, level, salience)

    def sample(step: int) -> None:
        rows = compare(network, encoder, held_out)[1]
        save_picture_row(rows, session.folder / f"samples-{step:06d}.png", scale=1)

    session.run(batch_loader(config.data, tokenizer, session.step, device), loss_of, sample, stop_after)
    session.average.swap(session.parameters)
    network.save_pretrained(folder / "super_resolution")
    measured = compare(network, encoder, held_out)[0]
    session.average.swap(session.parameters)
    return measured


def random_square(config: SuperResolutionConfig, generator: torch.Generator) -> tuple[Window, Window]:
    """Where a crop lies, on whole cells: in the low resolution and in the frames."""
    cells = (config.data.size - config.crop) // config.patch
    top, left = torch.randint(cells + 1, (2,), generator=generator).tolist()

    def window(pixels_per_cell: int) -> Window:
        side = config.crop // config.patch
        rows, columns = (slice(start * pixels_per_cell, (start + side) * pixels_per_cell) for start in (top, left))
        return ..., rows, columns

    return window(config.patch // config.scale), window(config.patch)


def held_out_clips(
    config: SuperResolutionConfig, tokenizer: PreTrainedTokenizerFast, device: str, clips: int = 8
) -> Batch:
    data = replace(config.data, scenes=clips, frames=8, seed=HELD_OUT_SEED, caption_dropout=0.0)
    return make_batch(data, tokenizer, 0, device)


@torch.no_grad()
def compare(network: SuperResolution, encoder: CLIPTextModel, batch: Batch) -> tuple[dict[str, Sharpness], Tensor]:
    """Clips enlarged by interpolation and by the network, measured, and the middle frame of each beside the true one,
    (3 n, 3, H, W).
    """
    pixels = batch.pixels.to(network.device)
    text = encoder(batch.tokens.to(network.device)).last_hidden_state
    low = low_resolution(pixels, network.config.scale)
    enlarged = []
    for clip, told in zip(low.split(1), text.split(1), strict=True):
        blocks = enlarge(network, clip, {"encoder_hidden_states": told}, Settings(**SETTINGS))
        enlarged.append(torch.cat(list(blocks), dim=2))
    kinds = {"bicubic": network.interpolated(low).clamp(-1, 1), "super-resolution": torch.cat(enlarged)}
    measured = {name: sharpness(video, pixels) for name, video in kinds.items()}
    middle = torch.stack([video[:, :, pixels.shape[2] // 2] for video in (*kinds.values(), pixels)])
    return measured, rearrange(middle, "k n c h w -> (n k) c h w").cpu()


def sharpness(video: Tensor, true: Tensor) -> Sharpness:
    """Videos (n, 3, t, H, W) in [-1, 1]."""
    error = ((video - true) / 2).square().flatten(1).mean(1)
    psnr = (-10 * torch.log10(error.clamp(min=1e-10))).mean().item()
    return Sharpness(psnr, (laplacian(video) / laplacian(true)).item())


def laplacian(video: Tensor) -> Tensor:
    around = video[..., :-2, 1:-1] + video[..., 2:, 1:-1] + video[..., 1:-1, :-2] + video[..., 1:-1, 2:]
    return (around - 4 * video[..., 1:-1, 1:-1]).abs().mean()
