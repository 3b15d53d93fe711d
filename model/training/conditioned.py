"""Stage 3: the video model learns to be told what is known (Lumiere, section 4.2): <J, C, M>, the noisy clip with known
pixels and their mask beside it.

The paper gives neither the mixture of conditions nor its shares; ours is below. A share of clips has nothing known, so
that one network serves text-to-video and all edits. Image layers stay frozen; temporal layers and the known input
learn.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

from model.folding import fold
from model.image_model import IMAGE_ARGUMENTS
from model.latents import KnownLatents
from model.stunet import KNOWN_LAYERS, STUNet
from model.training.batches import Batch, BatchConfig, batch_loader
from model.training.flow import TIMESTEPS, flow_loss, mixed_precision, noised, sample_times
from model.training.image_model import PATCH
from model.training.session import Schedule, Session
from model.training.text_encoder import load_text_encoder
from model.training.video_model import Phase

KNOWN_WEIGHT = 0.1
"""What a known pixel weighs in the loss: copying is easy, and sampling puts it back anyway."""
KNOWN_PACE = 4.0
"""How much faster than the others those layers learn that read what is known."""


HARD = BatchConfig(scenes=8, frames=16, stride=5, seed=4, pair_share=0.35, turning_share=0.45, camera_share=0.15)
"""What is hard to learn is seen more often than prompts ask for it."""


@dataclass(frozen=True)
class ConditionedConfig:
    shares: dict[str, float] = field(
        default_factory=lambda: {
            "none": 0.36,
            "first frame": 0.24,
            "keyframes": 0.06,
            "box": 0.13,
            "tube": 0.11,
            "half-plane": 0.05,
            "cinemagraph": 0.05,
        }
    )
    foreign_share: float = 0.3
    """Of the clips of which something is known."""
    shifts: tuple[float, ...] = (25.0, 25.0, 8.0, 2.0)
    """With 80 frames paths are seen in the noise up to t = 0.99, so that is where they are decided; at lower levels,
    where refinement works, frames still have to agree on what they show and with what is known."""
    phases: tuple[Phase, ...] = field(
        default_factory=lambda: (
            Phase(
                "sparse",
                HARD,
                Schedule(steps=3300, learning_rate=1e-3, warmup=50, ema_decay=0.99),
            ),
            Phase(
                "full",
                replace(HARD, scenes=2, frames=80, stride=1, seed=5),
                Schedule(steps=1600, learning_rate=6e-4, warmup=20, ema_decay=0.995),
            ),
        )
    )


def nothing(size: tuple[int, int, int], rng: random.Random) -> Tensor:
    return torch.zeros(size)


def first_frame(size: tuple[int, int, int], rng: random.Random) -> Tensor:
    mask = torch.zeros(size)
    mask[0] = 1
    return mask


def keyframes(size: tuple[int, int, int], rng: random.Random) -> Tensor:
    """Two to four frames, the ends more often than others."""
    frames = size[0]
    chosen = {end for end in (0, frames - 1) if rng.random() < 0.6}
    while len(chosen) < min(frames, rng.randint(2, 4)):
        chosen.add(rng.randrange(frames))
    mask = torch.zeros(size)
    mask[sorted(chosen)] = 1
    return mask


def box_outline(size: tuple[int, int, int], rng: random.Random) -> tuple[float, float, float, float]:
    """Top, left, height and width in pixels, a quarter to three quarters of each side."""
    _, rows, columns = size
    height, width = (side * rng.uniform(0.25, 0.75) for side in (rows, columns))
    return rng.uniform(0, rows - height), rng.uniform(0, columns - width), height, width


def box(size: tuple[int, int, int], rng: random.Random) -> Tensor:
    top, left, height, width = (round(value) for value in box_outline(size, rng))
    mask = torch.ones(size)
    mask[:, top : top + max(1, height), left : left + max(1, width)] = 0
    return mask


def tube(size: tuple[int, int, int], rng: random.Random) -> Tensor:
    """A box that moves steadily from one place to another."""
    start, end = box_outline(size, rng), box_outline(size, rng)
    mask = torch.ones(size)
    for frame in range(size[0]):
        share = frame / max(1, size[0] - 1)
        top, left = (round(a + share * (b - a)) for a, b in zip(start[:2], end[:2], strict=True))
        height, width = (max(1, round(side)) for side in start[2:])
        mask[frame, max(0, top) : top + height, max(0, left) : left + width] = 0
    return mask


def half_plane(size: tuple[int, int, int], rng: random.Random) -> Tensor:
    """One side of the frame is to be made, as in outpainting."""
    axis = rng.choice((1, 2))
    kept = max(1, round(size[axis] * rng.uniform(0.3, 0.7)))
    mask = torch.zeros(size)
    mask.narrow(axis, rng.choice((0, size[axis] - kept)), kept).fill_(1)
    return mask


def cinemagraph(size: tuple[int, int, int], rng: random.Random) -> Tensor:
    mask = box(size, rng)
    mask[0] = 1
    return mask


CONDITIONS: dict[str, Callable[[tuple[int, int, int], random.Random], Tensor]] = {
    "none": nothing,
    "first frame": first_frame,
    "keyframes": keyframes,
    "box": box,
    "tube": tube,
    "half-plane": half_plane,
    "cinemagraph": cinemagraph,
}
"""(frames, rows, columns) -> mask, 1 where pixels are known."""


def foreign(clip: Tensor, rng: random.Random) -> Tensor:
    """The clip (3, t, h, w) as of another world: its colours mixed, a texture that stands still laid over it.

    What is given may be a photograph, of which the network knows nothing: it has to learn to take it over.
    """
    generator = torch.Generator().manual_seed(rng.getrandbits(32))
    mixing = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q.to(clip)
    side = rng.choice((3, 6, 12, 24))
    texture = torch.randn(1, 3, side, side, generator=generator).to(clip)
    texture = F.interpolate(texture, clip.shape[-2:], mode="bicubic").transpose(0, 1)
    share = rng.uniform(0.2, 0.8)
    return ((1 - share) * torch.einsum("d c, c t h w -> d t h w", mixing, clip) + share * texture).clamp(-1, 1)


def draw_conditions(
    pixels: Tensor, shares: dict[str, float], rng: random.Random, foreign_share: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Clips (n, 3, t, h, w) -> the clips to be made, and what is known of them (n, 1, t, h, w).

    They differ for cinemagraphs, where all but the region stands still as in the first frame, and for a
    `foreign_share` of those of which something is known.
    """
    clips, masks = [], []
    for clip in pixels:
        (kind,) = rng.choices(list(shares), list(shares.values()))
        mask = CONDITIONS[kind]((clip.shape[1], clip.shape[2], clip.shape[3]), rng).to(clip)
        if mask.any() and rng.random() < foreign_share:
            clip = foreign(clip, rng)
        clips.append(torch.where(mask == 1, clip[:, :1], clip) if kind == "cinemagraph" else clip)
        masks.append(mask[None])
    return torch.stack(clips), torch.stack(masks)


def on_image_layers(unet: STUNet, folder: Path) -> STUNet:
    """`unet` with the image layers in `unet2d/` below `folder` in the place of its own."""
    image = UNet2DConditionModel.from_pretrained(folder / "unet2d", local_files_only=True)
    own = {name: value for name, value in unet.config.items() if name not in IMAGE_ARGUMENTS and name[0] != "_"}
    renewed = STUNet.from_unet(image, **own)
    temporal = {name: value for name, value in unet.state_dict().items() if "temporal_" in name}
    renewed.load_state_dict({**renewed.state_dict(), **temporal})
    return renewed


def train_conditioned_model(
    config: ConditionedConfig,
    folder: Path,
    device: str = "cpu",
    stop_after: float | None = None,
    start_from: Path | None = None,
) -> None:
    """Trains (or goes on training) the video model in `unet/` below `folder` and writes `unet_conditioned/`.

    stop_after: seconds after which each phase ends early. start_from: a finished model folder whose temporal layers a
        new run begins with, on the image layers of `folder`; it then needs no video model of its own.
    """
    torch.manual_seed(0)
    encoder, tokenizer = load_text_encoder(folder)
    encoder.to(device)
    trained: STUNet = STUNet.from_pretrained((start_from or folder) / "unet", local_files_only=True).float()
    if start_from is not None:
        trained = on_image_layers(trained, folder)
    channels = trained.config.in_channels + PATCH**2
    unet = trained.with_known_input(channels, copy=True).freeze_spatial().to(device)
    parameters = {name: value for name, value in unet.named_parameters() if "temporal_" in name}
    paces = {name: KNOWN_PACE for name in parameters if name.startswith(KNOWN_LAYERS)}
    for phase in config.phases:
        session = Session(folder / f"stage3-{phase.name}", parameters, phase.schedule, paces)
        session.resume()

        def loss_of(batch: Batch, step: int, phase: Phase = phase) -> Tensor:
            seed = phase.data.seed * 7919 + step
            generator = torch.Generator().manual_seed(seed)
            pixels, masks = draw_conditions(
                batch.pixels.to(device), config.shares, random.Random(seed), config.foreign_share
            )
            clean = fold(pixels, PATCH)
            known = KnownLatents(clean, masks, PATCH)
            salience = fold(batch.salience.expand_as(batch.pixels), PATCH).to(device)
            weight = salience * torch.where(known.mask, KNOWN_WEIGHT, 1.0)
            text = encoder(batch.tokens.to(device)).last_hidden_state
            t = sample_times(len(clean), config.shifts, generator).to(device)
            noise = torch.randn(clean.shape, generator=generator).to(device)
            told = torch.cat([noised(clean, noise, t), known.channels], dim=1)
            with mixed_precision(device):
                predicted = unet(told, t * TIMESTEPS, text, frame_interval=float(phase.data.stride)).sample
            return flow_loss(predicted, clean, t, weight)

        session.run(batch_loader(phase.data, tokenizer, session.step, device), loss_of, stop_after=stop_after)
        session.average.swap(parameters)
    unet.save_pretrained(folder / "unet_conditioned")
