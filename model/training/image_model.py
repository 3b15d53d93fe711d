"""Stage 1: the text-to-image U-Net, on single frames of the world. Everything that follows keeps these weights
frozen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from einops import rearrange
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from model.folding import fold, unfold
from model.inflation import moment_code
from model.stunet import STUNet
from model.training.batches import Batch, BatchConfig, batch_loader
from model.training.flow import TIMESTEPS, flow_loss, mixed_precision, noised, sample_times
from model.training.session import Schedule, Session
from model.training.text_encoder import load_text_encoder, tokenize

PATCH = 4
MOMENT_WIDTH = 32
"""Channels of the code in which the image layers are told the moment of a picture."""
SAMPLE_PROMPTS = (
    "a red car driving on a mountain road",
    "a knight riding through the countryside",
    "a blue fish moving left underwater",
    "a yellow star spinning in the night sky",
    "a green balloon rising over a meadow",
    "a purple butterfly orbiting in the desert",
    "a pink heart bouncing on the beach",
    "a white bird flying in the snow",
)


@dataclass(frozen=True)
class ImageModelConfig:
    channels: tuple[int, ...] = (128, 128)
    head_width: int = 64
    text_width: int = 128
    size: int = 32
    shift: float = 3.0
    moment_dropout: float = 0.1
    """Share of pictures whose moment is not told, as that of a picture is not from which a style is learned."""
    data: BatchConfig = field(
        default_factory=lambda: BatchConfig(scenes=128, frames=1, stills=True, pair_share=0.45, turning_share=0.55)
    )
    """Two subjects are harder than one, and turned ones hardest of all."""
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=6600, learning_rate=1.2e-3, ema_decay=0.999))


def build_unet(channels: tuple[int, ...], head_width: int, **rest: Any) -> UNet2DConditionModel:
    """A U-Net with one layer a level; text is attended to at the coarsest alone, for the sake of time."""
    levels = len(channels)
    return UNet2DConditionModel(
        down_block_types=("DownBlock2D",) * (levels - 1) + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        block_out_channels=channels,
        attention_head_dim=tuple(max(1, width // head_width) for width in channels),
        layers_per_block=1,
        norm_num_groups=8,
        use_linear_projection=True,
        resnet_time_scale_shift="scale_shift",
        **rest,
    )


def build_image_unet(config: ImageModelConfig) -> UNet2DConditionModel:
    """On folded pixels; text modulates every block through the time embedding besides, and so does the moment of a
    picture: what "spinning" looks like is a matter of when.
    """
    unet = build_unet(
        config.channels,
        config.head_width,
        sample_size=config.size // PATCH,
        in_channels=3 * PATCH**2,
        out_channels=3 * PATCH**2,
        cross_attention_dim=config.text_width,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        time_cond_proj_dim=MOMENT_WIDTH,
    )
    return unet.to(memory_format=torch.channels_last)


def folded_stills(video: Tensor, patch: int = PATCH) -> Tensor:
    """The frames of clips (n, c, t, h, w) as cells of single pictures: (n * t, c, h, w)."""
    stills = rearrange(video, "n c t h w -> (n t) c 1 h w")
    return fold(stills, patch).squeeze(2).contiguous(memory_format=torch.channels_last)


def train_image_model(
    config: ImageModelConfig,
    folder: Path,
    device: str = "cpu",
    stop_after: float | None = None,
    start_from: Path | None = None,
) -> None:
    """Trains (or goes on training) and writes `unet2d/` below `folder`, which already holds the text encoder.

    `start_from`: a finished model folder whose image layers a new run begins with.
    """
    torch.manual_seed(config.data.seed)
    encoder, tokenizer = load_text_encoder(folder)
    encoder.to(device)
    unet = build_image_unet(config)
    if start_from is not None:
        trained = STUNet.from_pretrained(start_from / "unet", local_files_only=True).float().state_dict()
        unet.load_state_dict({name: value for name, value in trained.items() if "temporal_" not in name})
    unet.to(device).eval()  # nothing here drops out, and in training mode diffusers copies features to another layout
    session = Session(folder / "stage1-images", dict(unet.named_parameters()), config.schedule)
    session.resume()

    def loss_of(batch: Batch, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(config.data.seed * 7919 + step)
        clean = folded_stills(batch.pixels).to(device)
        salience = folded_stills(batch.salience.expand_as(batch.pixels)).to(device)
        t = sample_times(len(clean), config.shift, generator).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        told = torch.rand(len(clean), 1, generator=generator) >= config.moment_dropout
        moments = (moment_code(batch.moments.flatten(), MOMENT_WIDTH) * told).to(device)
        with mixed_precision(device):
            text = encoder(batch.tokens.to(device)).last_hidden_state.repeat_interleave(config.data.frames, 0)
            predicted = unet(noised(clean, noise, t), t * TIMESTEPS, text, timestep_cond=moments).sample
        return flow_loss(predicted, clean, t, salience)

    def sample(step: int) -> None:
        pictures = sample_pictures(unet, encoder, tokenizer, list(SAMPLE_PROMPTS), steps=20, guidance=3.0)
        save_picture_row(pictures, session.folder / f"samples-{step:06d}.png")

    session.run(batch_loader(config.data, tokenizer, session.step, device), loss_of, sample, stop_after)
    session.average.swap(session.parameters)
    unet.save_pretrained(folder / "unet2d")
    session.average.swap(session.parameters)


def euler_flow(predict: Callable[[Tensor, float], Tensor], noise: Tensor, steps: int, shift: float) -> Tensor:
    """Plain Euler integration from noise to sample, for looking at models in training."""
    levels = torch.linspace(1, 0, steps + 1)
    levels = (shift * levels / (1 + (shift - 1) * levels)).tolist()
    x = noise
    for now, after in pairwise(levels):
        clean = predict(x, now).clamp(-1, 1)
        x = clean + (x - clean) * (after / now)
    return x


@torch.no_grad()
def sample_pictures(
    unet: UNet2DConditionModel,
    encoder: CLIPTextModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[str],
    steps: int,
    guidance: float,
) -> Tensor:
    """Pictures (n, 3, h, w) in [-1, 1] for the prompts, with classifier-free guidance."""
    device = next(unet.parameters()).device
    text = encoder(tokenize(tokenizer, prompts + [""] * len(prompts)).to(device)).last_hidden_state
    side = unet.config.sample_size
    noise = torch.randn(
        len(prompts), unet.config.in_channels, side, side, generator=torch.Generator().manual_seed(1)
    ).to(device)

    def predict(x: Tensor, t: float) -> Tensor:
        level = torch.full((2 * len(x),), t * TIMESTEPS, device=device)
        told, untold = unet(torch.cat([x, x]), level, text).sample.chunk(2)
        return untold + guidance * (told - untold)

    return unfold(euler_flow(predict, noise, steps, shift=2.0).unsqueeze(2), PATCH).squeeze(2)


def save_picture_row(pictures: Tensor, path: Path, scale: int = 3) -> None:
    row = rearrange(((pictures.clamp(-1, 1) + 1) * 127.5).byte().cpu(), "n c h w -> h (n w) c").numpy()
    image = Image.fromarray(row)
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(path)
