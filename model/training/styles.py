"""The styles that a finished model is shipped with: its spatial weights, fine-tuned on pictures of one style whose
captions do not name it (Lumiere, section 4.1; Sohn et al. 2023, "StyleDrop").
"""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from model.image_model import image_model
from model.inflation import moment_code
from model.stunet import STUNet
from model.style import style_path, style_slug
from model.style_adapter import save_style, with_adapter
from model.training.batches import Batch, BatchConfig, batch_loader
from model.training.flow import TIMESTEPS, flow_loss, mixed_precision, noised, sample_times
from model.training.image_model import (
    SAMPLE_PROMPTS,
    folded_stills,
    sample_pictures,
    save_picture_row,
)
from model.training.scenes.attributes import STYLES
from model.training.session import Schedule, Session
from model.training.text_encoder import load_text_encoder

WORLD_STYLES = tuple(style for style in STYLES if style != "plain")


@dataclass(frozen=True)
class StyleConfig:
    rank: int = 8
    shift: float = 1.5
    data: BatchConfig = field(default_factory=lambda: BatchConfig(scenes=32, frames=1, stills=True, seed=5))
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=240, learning_rate=2e-3, warmup=10, ema_decay=0.97, save_every=40, sample_every=80
        )
    )


def train_style(config: StyleConfig, name: str, model: Path, folder: Path, device: str = "cpu") -> Path:
    """Trains (or goes on training) a style of the world for the finished `model` folder and writes it there.

    folder: where the run is kept; a model with other weights begins a run of its own. Raises ValueError for a style
    that the world does not have.
    """
    styles = {style_slug(style): style for style in WORLD_STYLES}
    slug = style_slug(name)
    if slug not in styles:
        raise ValueError(f"style must be one of {', '.join(styles)}, got {name!r}")
    encoder, tokenizer = load_text_encoder(model)
    encoder.float().to(device)
    network = image_model(STUNet.from_pretrained(model / "unet", local_files_only=True).float()).to(device)
    run = folder / f"style-{slug}-{fingerprint(model / 'unet')}"
    session = Session(run, with_adapter(network, config.rank), config.schedule)
    session.resume()
    data = replace(config.data, style=styles[slug])

    def loss_of(batch: Batch, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(data.seed * 7919 + step)
        clean = folded_stills(batch.pixels).to(device)
        salience = folded_stills(batch.salience.expand_as(batch.pixels)).to(device)
        with torch.no_grad():
            text = encoder(batch.tokens.to(device)).last_hidden_state
        t = sample_times(len(clean), config.shift, generator).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        told = network.config.time_cond_proj_dim
        moments = moment_code(batch.moments.flatten(), told).to(device) if told else None
        with mixed_precision(device):
            predicted = network(noised(clean, noise, t), t * TIMESTEPS, text, timestep_cond=moments).sample
        return flow_loss(predicted, clean, t, salience)

    def sample(step: int) -> None:
        pictures = sample_pictures(network, encoder, tokenizer, list(SAMPLE_PROMPTS), steps=12, guidance=3.0)
        save_picture_row(pictures, session.folder / f"samples-{step:06d}.png")

    session.run(batch_loader(data, tokenizer, session.step, device), loss_of, sample)
    session.average.swap(session.parameters)
    path = style_path(model, slug)
    save_style(network, path, {"style": slug, "steps": str(session.step)})
    return path


def fingerprint(component: Path) -> str:
    """Names the weights of a component."""
    digest = hashlib.sha256()
    for path in sorted(component.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
