"""A new style from one picture: a word for it is found (Gal et al. 2022, "Textual Inversion"), then the spatial weights
are fine-tuned on cut-outs (Lumiere, section 4.1; Sohn et al. 2023, "StyleDrop").

The word is a vector that is added to the states of every token. Where it is added, a prompt means what it meant, in
another look, and guidance strengthens it as it does other words. It is found on the whole picture, under the caption
of what that shows. What no word of the model can say, the weights learn.

Cut-outs of many sizes, some mirrored, teach colours, strokes and textures rather than the one arrangement that the
picture shows. What a picture is of is decided at high noise levels: captions that have nothing to do with this one are
put to it at lower levels alone, so that they keep what they mean and take on the look. The rest is restraint: few
steps, low-rank factors, and at use an interpolation with the old weights.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from model.denoising import InvalidOutput, OnStep, StepInfo
from model.drawing import in_precision
from model.finetune.objective import loss, noised
from model.image_model import image_model
from model.multidiffusion import repeated
from model.style import text_width
from model.style_adapter import save_style, with_adapter
from model.text import encode_text

MIN_SIDE, MAX_ASPECT = 16, 8
OWN, UNTOLD = 0, 1
"""Places of the picture's own caption and of none among the captions; after them come foreign ones."""
UNTOLD_SHARE, FOREIGN_SHARE = 0.15, 0.55
"""Of the steps, in which the network is told nothing, as guidance needs the style there too, or a foreign caption."""
FOREIGN_LEVEL = 0.75
"""The highest noise level under a foreign caption, of 1."""
FOREIGN = (
    "a red car on a mountain road",
    "a green balloon over a meadow",
    "a white bird in the sky",
    "a boat on the sea",
    "a knight on a horse in the countryside",
    "a yellow star at night",
    "a house in the snow",
    "a fish under water",
)
"""Captions of everyday things."""


@dataclass(frozen=True)
class StyleSettings:
    """steps: of training, on so many `pictures` each, of which word_share find the word. rank: of the factors.
    smallest: side of the smallest cut-out relative to the picture's short side. flow_shift: leans the noise levels of
    flow models less to noise than videos need it, as looks are fine. word_gain: what the word is multiplied by at
    strength 1; frames that have to agree take on less of a look than a single picture does. share: of the factors that
    were learned, that the style has at strength 1; all of it takes the form of what is drawn, too.
    """

    steps: int = 240
    word_share: float = 0.8
    pictures: int = 8
    rank: int = 8
    word_rate: float = 0.04
    learning_rate: float = 2e-3
    smallest: float = 0.4
    flow_shift: float = 3.0
    word_gain: float = 1.2
    share: float = 0.3

    @property
    def word_steps(self) -> int:
        return round(self.word_share * self.steps)

    def rate(self, step: int) -> float:
        """Of the word, then of the factors: rises over a tenth of the steps, falls to nothing over the last half."""
        peak, first, steps = self.word_rate, 0, self.word_steps
        if step >= steps:
            peak, first, steps = self.learning_rate, steps, self.steps - steps
        share = (step - first + 1) / steps
        return peak * min(1.0, 10 * share, 2 * (1 - share) + 1 / steps)


@torch.enable_grad()
def learn_style(
    pipeline: Any,
    image: NDArray[np.uint8],
    path: Path,
    *,
    prompt: str = "",
    seed: int = 0,
    steps: int | None = None,
    settings: StyleSettings = StyleSettings(),
    on_step: OnStep | None = None,
) -> Path:
    """Learns the style of `image`, uint8 (h, w, 3), and writes it to `path`; the pipeline stays as it is.

    prompt: what the picture shows, without its style. steps: those of `settings` if not given. on_step: called after
    every step of training; what it raises ends the training.

    Raises ValueError naming the argument that cannot be, InvalidOutput when the training diverges.
    """
    settings = settings if steps is None else replace(settings, steps=steps)
    check(image, settings)
    height, width = image.shape[:2]
    network = image_model(pipeline.unet)
    factors = with_adapter(network, settings.rank, seed)
    word = nn.Parameter(torch.zeros(text_width(network), device=pipeline.device))
    optimizers = [torch.optim.AdamW(learned, weight_decay=0.0) for learned in ([word], factors.values())]
    generator = Generator().manual_seed(seed)
    side = pipeline.base_resolution
    pixels = rearrange(torch.from_numpy(np.array(image)).float() / 127.5 - 1, "h w c -> 1 c h w")
    conditions = encode_text(pipeline.text_encoders, [prompt, "", *FOREIGN]).conditions(side, side)

    for step in range(settings.steps):
        finds_word = step < settings.word_steps
        optimizer = optimizers[0 if finds_word else 1]
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        smallest = 1.0 if finds_word else settings.smallest
        cut = torch.cat([cut_out(pixels, side, smallest, generator) for _ in range(settings.pictures)])
        with torch.no_grad():
            clean = pipeline.encode(rearrange(cut, "n c h w -> n c 1 h w").to(pipeline.device))
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        caption, highest = (OWN, 1.0) if finds_word else draw_caption(generator)
        at = noised(pipeline.scheduler, clean, noise, generator, highest, settings.flow_shift)
        told = conditions[caption]
        if caption != UNTOLD:
            told = {**told, "encoder_hidden_states": told["encoder_hidden_states"] + word}
        condition = in_precision(repeated(told, len(clean)), pipeline.unet.dtype)
        predicted = network(at.sample.squeeze(2).to(pipeline.unet.dtype), at.timesteps, **condition).sample
        for each in optimizers:
            each.zero_grad(set_to_none=True)
        error = loss(pipeline.scheduler, predicted.unsqueeze(2), clean, noise, at)
        if not torch.isfinite(error):
            raise InvalidOutput("the training of the style has diverged")
        error.backward()
        nn.utils.clip_grad_norm_([word, *factors.values()], 1.0)
        optimizer.step()
        if on_step is not None:
            on_step(StepInfo("train", step + 1, settings.steps, None))
    about = {"prompt": prompt, "steps": str(settings.steps), "picture": f"{width}x{height}"}
    save_style(network, path, about, settings.share, settings.word_gain * word)
    return path


def check(image: NDArray[np.uint8], settings: StyleSettings) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be uint8 of shape (h, w, 3), got {image.dtype} {image.shape}")
    short, long = sorted(image.shape[:2])
    if short < MIN_SIDE:
        raise ValueError(
            f"image must be at least {MIN_SIDE} pixels on each side, got {image.shape[1]}x{image.shape[0]}"
        )
    if long > MAX_ASPECT * short:
        raise ValueError(f"image must be at most {MAX_ASPECT} times as long as wide, got {long}x{short}")
    if not 1 <= settings.steps <= 10_000:
        raise ValueError(f"steps must be 1 to 10000, got {settings.steps}")


def draw_caption(generator: Generator) -> tuple[int, float]:
    """Which caption a step has, and its highest noise level."""
    chance, which = torch.rand(2, generator=generator).tolist()
    if chance < FOREIGN_SHARE:
        return 2 + int(which * len(FOREIGN)), FOREIGN_LEVEL
    return (UNTOLD if chance < FOREIGN_SHARE + UNTOLD_SHARE else OWN), 1.0


def cut_out(pixels: Tensor, side: int, smallest: float, generator: Generator) -> Tensor:
    """A random square of (1, 3, h, w), perhaps mirrored, as (1, 3, side, side)."""
    height, width = pixels.shape[-2:]
    share, down, across, mirror = torch.rand(4, generator=generator).tolist()
    extent = max(1, round(min(height, width) * (smallest + (1 - smallest) * share)))
    top, left = round(down * (height - extent)), round(across * (width - extent))
    square = pixels[..., top : top + extent, left : left + extent]
    square = F.interpolate(square, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return square.flip(-1) if mirror < 0.5 else square
