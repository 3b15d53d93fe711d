"""Stage 2: the image U-Net inflated to a Space-Time U-Net; its image layers stay frozen, the temporal layers learn
motion.

Trained first on few frames far apart, where a whole trajectory is cheap, then on all 80 (Lumiere, section 3.1,
trains on 80
from the start). Positions in time are told in native frame intervals, so what was learned on strided clips carries
over.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from model.folding import fold, unfold
from model.stunet import STUNet
from model.training.batches import Batch, BatchConfig, batch_loader
from model.training.flow import TIMESTEPS, flow_loss, mixed_precision, noised, sample_times
from model.training.image_model import PATCH, SAMPLE_PROMPTS, euler_flow, save_picture_row
from model.training.scenes.render import contact_row
from model.training.session import Schedule, Session
from model.training.text_encoder import load_text_encoder, tokenize


@dataclass(frozen=True)
class Phase:
    """A stretch of training on clips of one shape."""

    name: str
    data: BatchConfig
    schedule: Schedule


@dataclass(frozen=True)
class VideoModelConfig:
    hidden_ratio: float = 1.0
    attention_depth: int = 2
    shift: float = 25.0
    """With 80 frames a path can be made out in the noise up to t = 0.99: that is where it is decided."""
    phases: tuple[Phase, ...] = field(
        default_factory=lambda: (
            Phase(
                "sparse",
                BatchConfig(scenes=8, frames=16, stride=5),
                Schedule(steps=4000, learning_rate=1.5e-3, warmup=100, sample_every=500),
            ),
            Phase(
                "full",
                BatchConfig(scenes=2, frames=80, seed=2),
                Schedule(steps=1500, learning_rate=8e-4, warmup=30, ema_decay=0.99),
            ),
        )
    )


def inflate(config: VideoModelConfig, folder: Path) -> STUNet:
    """The trained image U-Net below `folder`, inflated, with everything but the temporal layers frozen."""
    image_unet = UNet2DConditionModel.from_pretrained(folder / "unet2d", local_files_only=True)
    unet = STUNet.from_unet(
        image_unet,
        temporal_hidden_ratio=config.hidden_ratio,
        temporal_attention_depth=config.attention_depth,
        temporal_conditioning=True,
        temporal_places=True,
        frame_moments=True,
    )
    return unet.freeze_spatial()


def adopt_temporal_layers(unet: STUNet, finished: Path) -> None:
    """Copies the temporal layers of a finished model folder, made of an earlier state of the same image model."""
    trained = STUNet.from_pretrained(finished / "unet", local_files_only=True).float().state_dict()
    unet.load_state_dict({**unet.state_dict(), **{k: v for k, v in trained.items() if "temporal_" in k}})


def train_video_model(
    config: VideoModelConfig,
    folder: Path,
    device: str = "cpu",
    stop_after: dict[str, float] | None = None,
    start_from: Path | None = None,
) -> None:
    """Runs every phase (or goes on with it) and writes `unet/` below `folder`, which already holds `unet2d/` of
    stage 1.

    `stop_after`: seconds per phase name after which the phase ends early. `start_from`: a finished model folder
        whose temporal layers a new run begins with.
    """
    torch.manual_seed(0)
    encoder, tokenizer = load_text_encoder(folder)
    encoder.to(device)
    unet = inflate(config, folder)
    if start_from is not None:
        adopt_temporal_layers(unet, start_from)
    unet.to(device)
    parameters = {name: value for name, value in unet.named_parameters() if "temporal_" in name}
    for phase in config.phases:
        session = Session(folder / f"stage2-{phase.name}", parameters, phase.schedule)
        session.resume()
        train_phase(phase, config.shift, unet, encoder, tokenizer, session, device, (stop_after or {}).get(phase.name))
        session.average.swap(parameters)
    unet.save_pretrained(folder / "unet")


def train_phase(
    phase: Phase,
    shift: float,
    unet: STUNet,
    encoder: CLIPTextModel,
    tokenizer: PreTrainedTokenizerFast,
    session: Session,
    device: str,
    stop_after: float | None,
) -> None:
    def loss_of(batch: Batch, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(phase.data.seed * 7919 + step)
        clean = fold(batch.pixels, PATCH).to(device)
        salience = fold(batch.salience.expand_as(batch.pixels), PATCH).to(device)
        text = encoder(batch.tokens.to(device)).last_hidden_state
        t = sample_times(len(clean), shift, generator).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        interval = float(phase.data.stride)
        with mixed_precision(device):
            predicted = unet(noised(clean, noise, t), t * TIMESTEPS, text, frame_interval=interval).sample
        return flow_loss(predicted, clean, t, salience)

    def sample(step: int) -> None:
        clips = sample_clips(
            unet, encoder, tokenizer, list(SAMPLE_PROMPTS), phase.data.frames, float(phase.data.stride)
        )
        save_picture_row(contact_row(clips, columns=8)[None], session.folder / f"samples-{step:06d}.png", scale=2)

    session.run(batch_loader(phase.data, tokenizer, session.step, device), loss_of, sample, stop_after)


@torch.no_grad()
def sample_clips(
    unet: STUNet,
    encoder: CLIPTextModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[str],
    frames: int,
    frame_interval: float,
    steps: int = 16,
    guidance: float = 3.0,
) -> Tensor:
    """Clips (n, 3, frames, h, w) in [-1, 1] for the prompts, one after the other, with classifier-free guidance."""
    device = next(unet.parameters()).device
    text = encoder(tokenize(tokenizer, [*prompts, ""]).to(device)).last_hidden_state
    side, channels = unet.config.sample_size, unet.config.in_channels
    generator = torch.Generator().manual_seed(1)
    clips = []
    for told_text in text[:-1]:
        noise = torch.randn(1, channels, frames, side, side, generator=generator).to(device)

        def predict(x: Tensor, t: float, told_text: Tensor = told_text) -> Tensor:
            told = unet(x, t * TIMESTEPS, told_text[None], frame_interval=frame_interval).sample
            untold = unet(x, t * TIMESTEPS, text[-1:], frame_interval=frame_interval).sample
            return untold + guidance * (told - untold)

        clips.append(unfold(euler_flow(predict, noise, steps, shift=8.0), PATCH))
    return torch.cat(clips)
