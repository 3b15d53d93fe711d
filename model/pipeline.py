"""From a prompt to frames: text, noise, denoising, decoding, upscaling, each a call of its own.

Letters: b videos, c channels, t frames, h height, w width. Pixels are in [-1, 1] until the last stage.

Latents are what the network denoises. A model in pixel space folds p x p pixels into channels (`patch_size`), which
lets a small network work on a coarse grid; a latent model has a VAE. Both go through `encode` and `decode`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model import checkpoint
from model.components import STUNet
from model.denoising import Condition, Guidance, OnStep, clamp, denoise, make_scheduler, prediction_type
from model.folding import fold, unfold
from model.loading import component_names, load_components, settings_of
from model.text import TextEncoders, encode_text

FRAMES_AT_ONCE = 16
"""Frames that per-frame stages work on at a time: bounds memory, changes nothing."""


@dataclass(frozen=True)
class Clip:
    """A made video.

    frames: uint8 RGB, (t, h, w, 3). timings: seconds by stage. upscale: "none", or how the frames were enlarged from
        the size the network works at. prompt_tokens_used of prompt_tokens_max: a prompt longer than that was cut off.
    """

    frames: NDArray[np.uint8]
    timings: dict[str, float]
    upscale: str
    prompt_tokens_used: int
    prompt_tokens_max: int
    prompt_truncated: bool


@dataclass
class Stopwatch:
    """Seconds by stage; waits for the device, so that a stage is not charged for another's work."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name] = time.perf_counter() - started


class LumierePipeline(DiffusionPipeline):
    """Text to video. unet: STUNet. text_encoder, tokenizer: CLIP's or T5's classes, and for SDXL a second pair.
    scheduler: of diffusers. vae: for latent models.

    patch_size: pixels, or the VAE's cells, that are folded into one cell of the network's grid, along each side.
    force_zeros_for_empty_prompt: see `TextEncoders.zeros_for_empty`.
    """

    model_cpu_offload_seq = "text_encoder->text_encoder_2->unet->vae"
    _optional_components = ["vae", "text_encoder_2", "tokenizer_2"]  # noqa: RUF012

    def __init__(
        self,
        unet: STUNet,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | None = None,
        text_encoder_2: PreTrainedModel | None = None,
        tokenizer_2: PreTrainedTokenizerBase | None = None,
        patch_size: int = 1,
        force_zeros_for_empty_prompt: bool = False,
    ) -> None:
        super().__init__()
        self.register_modules(
            unet=unet,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
            scheduler=scheduler,
            vae=vae,
        )
        # a path that stays, wherever the class is defined
        self.register_to_config(
            unet=("model.components", "STUNet"),
            patch_size=patch_size,
            force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
        )
        self.card: dict[str, Any] = {}

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Self:
        """Loads a local folder in diffusers' layout, safetensors only, and runs no code from it.

        dtype, device: None is the device at hand and the precision it is quick at. Raises CheckpointError naming what
            is wrong.
        """
        folder = Path(folder)
        place = checkpoint.default_device() if device is None else torch.device(device)
        dtype = checkpoint.default_dtype(place) if dtype is None else dtype
        checkpoint.check_folder(folder)
        card = checkpoint.read_card(folder)
        components = load_components(folder, component_names(folder), dtype)
        try:
            pipeline = cls(**components, **settings_of(folder))
        except TypeError as error:  # an argument that is missing, or that is none of ours
            raise checkpoint.CheckpointError(
                f"{folder / 'model_index.json'} is not of a LumierePipeline: {error}"
            ) from None
        pipeline.card = card
        pipeline.unet.set_frame_chunk(FRAMES_AT_ONCE if place.type == "cpu" else None)
        return pipeline.to(place)

    @property
    def text_encoders(self) -> TextEncoders:
        pairs = [(self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2)]
        return TextEncoders(
            tuple(pair for pair in pairs if pair[1] is not None), self.config.force_zeros_for_empty_prompt
        )

    @property
    def pixels_per_cell(self) -> int:
        """Pixels along one side of a cell of the network's grid."""
        of_vae = 1 if self.vae is None else 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.config.patch_size * of_vae

    @property
    def base_resolution(self) -> int:
        """Pixels along the short side of what the network makes, before upscaling."""
        return self.unet.config.sample_size * self.pixels_per_cell

    def text_to_video(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        seed: int = 0,
        num_frames: int = 80,
        height: int = 128,
        width: int = 128,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_rescale: float = 0.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        scheduler: str | None = None,
        on_step: OnStep | None = None,
    ) -> Clip:
        """Makes `num_frames` frames of what `prompt` says, `height` x `width` pixels.

        Steps and guidance default to what the model's card says. scheduler: class name of a diffusers scheduler, None
        is the model's own. on_step: called after every denoising step; what it raises ends the run. The same
        arguments give the same pixels on the same machine and in the same precision. Raises ValueError naming the
        argument that cannot be, and InvalidOutput when the network fails.
        """
        defaults = self.card.get("defaults", {})
        steps = defaults.get("num_inference_steps", 20) if num_inference_steps is None else num_inference_steps
        scale = defaults.get("guidance_scale", 5.0) if guidance_scale is None else guidance_scale
        self.check(prompt, seed, num_frames, height, width, steps)
        batched = self.device.type != "cpu"
        guidance = Guidance(scale, guidance_rescale, guidance_interval, batched)
        solver = self.scheduler if scheduler is None else make_scheduler(scheduler, self.scheduler)
        watch = Stopwatch(self.device)

        with torch.no_grad():
            with watch.stage("text"):
                text = encode_text(self.text_encoders, [prompt, negative_prompt])
                shape = self.latent_shape(num_frames, height, width)
                positive, negative = text.conditions(*(cells * self.pixels_per_cell for cells in shape[-2:]))
            with watch.stage("denoise"):
                generator = torch.Generator().manual_seed(seed)
                noise = torch.randn(shape, generator=generator)
                latents = denoise(
                    self.predict,
                    solver,
                    noise.to(self.device),
                    positive,
                    negative,
                    steps=steps,
                    network_predicts=prediction_type(self.scheduler),
                    guidance=guidance,
                    threshold=clamp if self.vae is None else None,
                    generator=generator,
                    on_step=on_step,
                )
            with watch.stage("decode"):
                pixels = self.decode(latents)
            with watch.stage("upscale"):
                upscale = "none" if pixels.shape[-2:] == (height, width) else "bicubic"
                frames = to_frames(pixels, height, width)
        return Clip(
            frames, watch.seconds, upscale, text.tokens_used, text.tokens_max, text.tokens_given > text.tokens_max
        )

    def check(self, prompt: str, seed: int, num_frames: int, height: int, width: int, steps: int) -> None:
        """Raises ValueError naming the first argument out of its limits, and the limits."""
        if not prompt.strip():
            raise ValueError("prompt must not be empty")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be 0 to 2**64 - 1, got {seed}")
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {num_frames}")
        if not 1 <= steps <= 1000:
            raise ValueError(f"num_inference_steps must be 1 to 1000, got {steps}")
        for name, value in (("height", height), ("width", width)):
            if value < self.base_resolution or value % 2:
                raise ValueError(
                    f"{name} must be even and at least {self.base_resolution}, what this model draws at; got {value}"
                )

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int, int]:
        """(1, c, t, h, w) of the grid whose short side is the one trained on, with the aspect of height x width."""
        cells = self.unet.config.sample_size
        short = min(height, width)
        rows, columns = (round(side * cells / short) for side in (height, width))
        return 1, self.latent_channels, num_frames, rows, columns

    @property
    def latent_channels(self) -> int:
        of_pixels = 3 if self.vae is None else self.vae.config.latent_channels
        return of_pixels * self.config.patch_size**2

    def predict(self, sample: Tensor, timesteps: Tensor, **condition: Any) -> Tensor:
        """The network's prediction, at its precision."""
        told = in_precision(condition, self.unet.dtype)
        return self.unet(sample.to(self.unet.dtype), timesteps, **told, return_dict=False)[0]

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (b, 3, t, h, w) in [-1, 1] -> latents, float32. h, w: multiples of `pixels_per_cell`."""
        if self.vae is not None:
            config = self.vae.config
            frames = rearrange(pixels, "b c t h w -> (b t) c h w").to(self.vae.dtype)
            encoded = [self.vae.encode(some).latent_dist.mode() for some in frames.split(FRAMES_AT_ONCE)]
            latents = (torch.cat(encoded).float() - (config.shift_factor or 0.0)) * config.scaling_factor
            pixels = rearrange(latents, "(b t) c h w -> b c t h w", b=pixels.shape[0])
        return fold(pixels.float(), self.config.patch_size)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> pixels (b, 3, t, h, w), float32. The inverse of `encode`."""
        pixels = unfold(latents, self.config.patch_size)
        if self.vae is not None:
            config = self.vae.config
            frames = rearrange(pixels, "b c t h w -> (b t) c h w") / config.scaling_factor + (
                config.shift_factor or 0.0
            )
            frames = frames.to(self.vae.dtype)
            decoded = [self.vae.decode(some, return_dict=False)[0].float() for some in frames.split(FRAMES_AT_ONCE)]
            pixels = rearrange(torch.cat(decoded), "(b t) c h w -> b c t h w", b=pixels.shape[0])
        return pixels


def in_precision(condition: Condition, dtype: torch.dtype) -> Condition:
    return {
        key: in_precision(value, dtype) if isinstance(value, dict) else value.to(dtype)
        for key, value in condition.items()
    }


def to_frames(pixels: Tensor, height: int, width: int) -> NDArray[np.uint8]:
    """Pixels (1, 3, t, h, w) in [-1, 1] -> uint8 (t, height, width, 3), by bicubic interpolation where sizes differ."""
    done = []
    for frames in rearrange(pixels, "1 c t h w -> t c h w").split(FRAMES_AT_ONCE):
        if frames.shape[-2:] != (height, width):
            frames = F.interpolate(frames, size=(height, width), mode="bicubic", antialias=True)
        levels = ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        done.append(rearrange(levels, "t c h w -> t h w c").cpu())
    return torch.cat(done).contiguous().numpy()
