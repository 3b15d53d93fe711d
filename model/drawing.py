"""From texts, and what is known, to latents: the part of a pipeline that denoises.

Letters: b videos, c channels, t frames, h height, w width.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from model.clip import Stopwatch
from model.denoising import (
    Condition,
    Guidance,
    Network,
    OnStep,
    clamp,
    concatenate,
    denoise,
    make_scheduler,
    prediction_type,
)
from model.latents import KnownLatents, LatentSpace
from model.looping import looped
from model.multidiffusion import over_windows, windows
from model.options import NOTHING, Asked, Drawn, Given
from model.refinement import Refinement, refine
from model.side_by_side import side_by_side
from model.source_motion import SourceMotion
from model.text import EncodedText, TextEncoders, encode_text

WINDOW_FRAMES = 80
"""Frames of a clip that the network was trained on; longer videos are made in windows of so many."""
WINDOW_OVERLAP = 20


class Drawing(LatentSpace):
    """Text encoders, tokenizers, `scheduler` and `card` are the pipeline's."""

    text_encoder: Any
    tokenizer: Any
    text_encoder_2: Any
    tokenizer_2: Any
    scheduler: SchedulerMixin
    card: dict[str, Any]
    word: Tensor | None
    """Of the style that is drawn in, (d,): added to the states of prompts, and not of negative ones, which guidance
    leads away from."""

    @property
    def text_encoders(self) -> TextEncoders:
        pairs = [(self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2)]
        return TextEncoders(
            tuple(pair for pair in pairs if pair[1] is not None), self.config.force_zeros_for_empty_prompt
        )

    @torch.no_grad()
    def draw(self, asked: Sequence[Asked], given: Given = NOTHING, on_step: OnStep | None = None) -> list[Drawn]:
        """Denoises videos as one batch; their options may differ in negative prompt and seed alone.

        Each is what it would be alone, but for rounding: in a larger batch some devices sum in another order. on_step:
        gets the estimates of all. Raises as a task does, for all of them.
        """
        options = asked[0].options
        defaults = self.card.get("defaults", {})
        steps, scale = options.num_inference_steps, options.guidance_scale
        steps = defaults.get("num_inference_steps", 20) if steps is None else steps
        scale = defaults.get("guidance_scale", 5.0) if scale is None else scale
        height, width, num_frames = options.height, options.width, options.num_frames
        for each in asked:
            self.check(each.prompt, each.options.seed, num_frames, height, width, steps)
        if given.source is not None:
            scale = 1 + given.strength * (scale - 1)
        guidance = Guidance(scale, options.guidance_rescale, options.guidance_interval)
        solver = self.scheduler if options.scheduler is None else make_scheduler(options.scheduler, self.scheduler)
        watch = Stopwatch(self.device)

        with watch.stage("text"):
            texts = [encode_text(self.text_encoders, [each.prompt, each.options.negative_prompt]) for each in asked]
            shape = self.latent_shape(num_frames, height, width)
            frame = [cells * self.pixels_per_cell for cells in shape[-2:]]
            told_of = [self.conditions(text, *frame) for text in texts]
            positive, negative = (reduce(concatenate, conditions) for conditions in zip(*told_of, strict=True))
        with watch.stage("denoise"):
            known = None if given.known is None else self.known_latents(given.known, shape)
            told = known if given.told is None else self.known_latents(given.told, shape)
            generators = [torch.Generator().manual_seed(each.options.seed) for each in asked]
            noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
            source = None if given.source is None else self.source_latents(given.source, shape)
            moves = source is not None and known is None and given.strength < 1  # 1 ignores the source
            network = self.network(num_frames, told, given.loop)
            shared: dict[str, Any] = {
                "network_predicts": prediction_type(self.scheduler),
                "revise": SourceMotion(source, self.config.patch_size).keep if moves else None,
                "threshold": clamp if self.vae is None else None,
                "keep_known": None if known is None else known.keep,
                "on_step": on_step,
            }
            latents = denoise(
                network,
                solver,
                noise.to(self.device),
                positive,
                negative,
                steps=steps,
                guidance=guidance,
                generator=generators if len(asked) > 1 else generators[0],
                source=source,
                strength=given.strength,
                **shared,
            )
            refinement = Refinement(**self.card.get("refinement", {}))
            latents = refine(network, self.scheduler, latents, positive, refinement, generators, **shared)
        return [
            Drawn(row, each.options, prompted, unprompted, text, replace(watch, seconds=dict(watch.seconds)))
            for row, each, (prompted, unprompted), text in zip(latents.split(1), asked, told_of, texts, strict=True)
        ]

    def conditions(self, text: EncodedText, height: int, width: int) -> list[Condition]:
        """Of a prompt, with the style's word, and of its negative prompt."""
        positive, negative = text.conditions(height, width)
        if self.word is not None:
            states = positive["encoder_hidden_states"]
            positive = {**positive, "encoder_hidden_states": states + self.word.to(states)}
        return [positive, negative]

    def network(self, num_frames: int, known: KnownLatents | None, loop: bool) -> Network:
        """`predict` for a clip of any length, told what is known if it can be."""
        length = self.card.get("window_frames", WINDOW_FRAMES)
        spans = windows(num_frames, length, min(WINDOW_OVERLAP, length // 2))
        predict = over_windows(side_by_side(self.predict), spans)
        if loop:
            predict = looped(predict)
        if known is None or not self.unet.config.known_channels:
            return predict

        def told(sample: Tensor, timesteps: Tensor, **condition: Any) -> Tensor:
            channels = known.channels.expand(len(sample), -1, -1, -1, -1)
            return predict(torch.cat([sample, channels], dim=1), timesteps, **condition)

        return told

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
                nearest = max(self.base_resolution, value // 2 * 2)
                raise ValueError(
                    f"{name} must be even and at least {self.base_resolution}, what this model draws at; got {value}, "
                    f"the nearest is {nearest}"
                )

    def predict(self, sample: Tensor, timesteps: Tensor, **condition: Any) -> Tensor:
        """The network's prediction, at its precision."""
        told = in_precision(condition, self.unet.dtype)
        return self.unet(sample.to(self.unet.dtype), timesteps, **told, return_dict=False)[0]


def in_precision(condition: Condition, dtype: torch.dtype) -> Condition:
    return {
        key: in_precision(value, dtype) if isinstance(value, dict) else value.to(dtype)
        for key, value in condition.items()
    }
