"""From latents to frames: the part of a pipeline that decodes, enlarges, and puts back what is known.

Letters: b videos, c channels, t frames, h height, w width; H, W of an enlarged video.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from model.clip import Clip, joined
from model.conditioning import Known, chunks, keep, on_grid
from model.denoising import Condition
from model.kept_detail import keep_detail
from model.latents import LatentSpace
from model.looping import cut_open
from model.options import NOTHING, Drawn, Given, Options
from model.super_resolution import Settings, enlarge


class Finishing(LatentSpace):
    """`super_resolution` and `card` are the pipeline's."""

    super_resolution: Any
    card: dict[str, Any]

    @torch.no_grad()
    def finish(self, drawn: Drawn, given: Given = NOTHING) -> Clip:
        """The clip of a video that was drawn: decoded, enlarged, the known pixels put back."""
        options, latents, text, watch = drawn.options, drawn.latents, drawn.text, drawn.watch
        height, width, num_frames = options.height, options.width, options.num_frames
        with watch.stage("decode"):
            blocks = (self.decode(latents[:, :, some]) for some in chunks(num_frames))
            base_size = tuple(cells * self.pixels_per_cell for cells in latents.shape[-2:])
            enlarging = self.super_resolution is not None and base_size != (height, width)
            if enlarging:
                low = torch.cat(list(blocks), dim=2)
            else:
                frames = joined(blocks, num_frames, height, width)
        with watch.stage("upscale"):
            if enlarging:
                large = self.enlarged(low, drawn.positive, drawn.negative, options, given.known)
                frames = joined(large, num_frames, height, width)
            told = given.told or given.known
            if enlarging and told is not None:
                keep_detail(frames, low, told)
            if given.known is not None:
                frames = keep(frames, given.known)
            if given.loop and (given.known is None or (given.known.share == given.known.share[0]).all()):
                frames = cut_open(frames)
        upscale = "super-resolution" if enlarging else "none" if base_size == (height, width) else "bicubic"
        truncated = text.tokens_given > text.tokens_max
        return Clip(frames, watch.seconds, upscale, text.tokens_used, text.tokens_max, truncated)

    def enlarged(
        self, low: Tensor, positive: Condition, negative: Condition, options: Options, known: Known | None
    ) -> Iterator[Tensor]:
        """Blocks of frames by super-resolution, told of the known pixels as far as its size goes."""
        network = self.super_resolution
        height, width = (side * network.config.scale for side in low.shape[-2:])
        known_pixels = partial(on_grid, known, height, width) if known is not None else None
        shrinks = height <= options.height and width <= options.width
        return enlarge(
            network,
            low,
            {"encoder_hidden_states": positive["encoder_hidden_states"]},
            Settings(**self.card.get("super_resolution", {})),
            negative={"encoder_hidden_states": negative["encoder_hidden_states"]},
            seed=options.seed,
            known=known_pixels if shrinks else None,
            on_step=options.on_step,
        )
