"""From a prompt, and what is known of the video, to frames: the five tasks (Lumiere, sections 3 and 4).

All of them are one call, `make`: text, noise and denoising (`model.drawing`), then decoding, enlarging, and the known
pixels put back (`model.finishing`). They differ in what they know.

Letters: b videos, c channels, t frames, h height, w width. Pixels are in [-1, 1] until the last stage.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model import checkpoint
from model.clip import FRAMES_AT_ONCE, Clip, to_frames
from model.conditioning import (
    NO_MARGINS,
    Frames,
    Keyframe,
    Known,
    Margins,
    Region,
    Resize,
    from_keyframes,
    from_still,
    from_video,
    place,
    placement,
    without_first_frame,
)
from model.drawing import Drawing
from model.finishing import Finishing
from model.loading import component_names, load_components, settings_of
from model.options import NOTHING, Asked, Given, Options
from model.stunet import STUNet
from model.style import Style, find_styles, read_style, style_slug, styled
from model.super_resolution import SuperResolution

__all__ = ["Clip", "Keyframe", "LumierePipeline", "Margins", "Options", "to_frames"]

UNTOLD_STRENGTH = 0.9
"""A network that is not told what is known begins image-to-video and cinemagraphs from the given frames, noised so far;
without that hint it would draw a scene of its own after the first frame.
"""

STRENGTH = 0.6
"""Of stylization, for models whose card does not say."""


class LumierePipeline(Drawing, Finishing, DiffusionPipeline):
    """The five tasks. unet: STUNet. text_encoder, tokenizer: CLIP's or T5's classes, and for SDXL a second pair.
    scheduler: of diffusers. vae: for latent models. super_resolution: makes videos larger than the unet does.

    patch_size: pixels, or the VAE's cells, that are folded into one cell of the network's grid, along each side.
    force_zeros_for_empty_prompt: see `TextEncoders.zeros_for_empty`.
    """

    model_cpu_offload_seq = "text_encoder->text_encoder_2->unet->vae->super_resolution"
    _optional_components = ["vae", "text_encoder_2", "tokenizer_2", "super_resolution"]  # noqa: RUF012

    def __init__(
        self,
        unet: STUNet,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | None = None,
        text_encoder_2: PreTrainedModel | None = None,
        tokenizer_2: PreTrainedTokenizerBase | None = None,
        super_resolution: SuperResolution | None = None,
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
            super_resolution=super_resolution,
        )
        # a path that stays, wherever the class is defined
        self.register_to_config(
            unet=("model.components", "STUNet"),
            patch_size=patch_size,
            force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
        )
        if super_resolution is not None:
            self.register_to_config(super_resolution=("model.components", type(super_resolution).__name__))
        self.card: dict[str, Any] = {}
        self.style_files: dict[str, Path] = {}
        self.styles_read: dict[str, Style] = {}
        self.word: Tensor | None = None

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
        pipeline.style_files = find_styles(folder)
        pipeline.unet.set_frame_chunk(FRAMES_AT_ONCE if place.type == "cpu" else None)
        return pipeline.to(place)

    def load_lora(self, source: str | Path, scale: float = 1.0) -> dict[str, int]:
        """Merges a LoRA made for the image model into this model's weights; see `merge_lora`."""
        from model.lora import merge_lora  # reads peft in, which takes seconds and few need

        return merge_lora(self, source, scale)

    def text_to_video(
        self, prompt: str, *, style: str | Path | None = None, style_strength: float = 1.0, **options: Any
    ) -> Clip:
        """Makes a video of what `prompt` says, perhaps in a style; see `stylize`. options: see `Options`.

        This and all tasks raise ValueError naming the argument that cannot be, and InvalidOutput when the network
        fails.
        """
        with self.in_style(style, style_strength):
            return self.make(prompt, Options(**options))

    def image_to_video(
        self, prompt: str, *, keyframes: Sequence[Keyframe], resize: Resize = "cover", **options: Any
    ) -> Clip:
        """Makes a video that shows the images of `keyframes` at their frames, exactly; one at frame 0 is its
        beginning.
        """
        settings = Options(**options)
        known = from_keyframes(keyframes, settings.num_frames, settings.height, settings.width, resize)
        return self.make(prompt, settings, self.hinted(known))

    def inpaint(
        self,
        prompt: str,
        *,
        video: Frames,
        mask: Region | NDArray[np.floating] | None = None,
        expand: Margins = NO_MARGINS,
        feather: float = 0.0,
        resize: Resize = "cover",
        **options: Any,
    ) -> Clip:
        """Makes part of `video`, uint8 (t, h, w, 3), anew and keeps the rest exactly.

        mask: (t or 1, h, w), 1 where frames are made anew; None is nowhere, for when only `expand` adds something to
        fill in. feather: width of the border over which the given pixels fade into the new ones, as a fraction of the
        short side; it lies where the mask is 1.
        """
        settings = Options(**{**options, "num_frames": len(video)})
        region = np.zeros((1, *video.shape[1:3]), bool) if mask is None else np.asarray(mask) > 0.5
        if not 0 <= feather <= 0.5:
            raise ValueError(f"feather must be 0 to 0.5, got {feather}")
        known = from_video(video, region, settings.height, settings.width, resize, expand, feather)
        return self.make(prompt, settings, Given(known))

    def cinemagraph(
        self,
        prompt: str,
        *,
        image: NDArray[np.uint8],
        mask: Region | NDArray[np.floating],
        loop: bool = False,
        resize: Resize = "cover",
        **options: Any,
    ) -> Clip:
        """Lets part of `image`, uint8 (h, w, 3), move and keeps the rest still, exactly.

        mask: (t or 1, h, w), 1 where it moves. loop: the end leads back to the beginning. Without it the first frame is
        the image; with it the first frame, too, is drawn where it moves, as an exact one would stand out in every
        round, and the clip begins where the step to it is the smallest, if the mask stands still.
        """
        settings = Options(**options)
        region = np.asarray(mask) > 0.5
        known = from_still(image, region, settings.num_frames, settings.height, settings.width, resize)
        given = self.hinted(known)
        if loop:
            given = replace(given, known=without_first_frame(known), told=known, loop=True)
        return self.make(prompt, settings, given)

    def stylize(
        self,
        prompt: str,
        *,
        video: Frames | None = None,
        style: str | Path | None = None,
        strength: float | None = None,
        style_strength: float = 1.0,
        resize: Resize = "cover",
        **options: Any,
    ) -> Clip:
        """Makes `video`, uint8 (t, h, w, 3), anew after the prompt, or a new video in a named style, or both.

        strength: the share of the steps that `video` is taken back and made again (SDEdit): 0 leaves it nearly as it
        is, 1 ignores it; None is the card's `stylize.strength`. Guidance grows with it: where the source decides most
        already, all of it overdoes the look. style: one of `styles`, or a file that `learn_style` wrote.
        style_strength: how far its weights replace the image model's (section 4.1).
        """
        if video is None and style is None:
            raise ValueError("video or style must be given")
        if strength is None:
            strength = self.card.get("stylize", {}).get("strength", STRENGTH)
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be 0 to 1, got {strength}")
        settings = Options(**(options if video is None else {**options, "num_frames": len(video)}))
        source = None
        if video is not None:
            source = place(video, placement(video.shape[1:3], (settings.height, settings.width), resize))
        with self.in_style(style, style_strength):
            return self.make(prompt, settings, Given(source=source, strength=strength))

    def hinted(self, known: Known) -> Given:
        """Frames that are known, and the beginning that a network needs which is not told of them."""
        return Given(known) if self.unet.config.known_channels else Given(known, known.pixels, UNTOLD_STRENGTH)

    @property
    def styles(self) -> list[str]:
        return sorted(self.style_files)

    def style(self, name: str) -> Style:
        """The weights of a style, kept after the first time. Its name may be written with spaces and capitals."""
        slug = style_slug(name)
        if slug not in self.style_files:
            raise ValueError(f"style must be one of {', '.join(self.styles) or '(this model has none)'}, got {name!r}")
        if slug not in self.styles_read:
            self.styles_read[slug] = read_style(self.style_files[slug], self.unet)
        return self.styles_read[slug]

    @contextmanager
    def in_style(self, style: str | Path | None, strength: float) -> Iterator[None]:
        """A context in which the network draws in a style: None, one of `styles`, or a file."""
        if not 0 <= strength <= 1:
            raise ValueError(f"style_strength must be 0 to 1, got {strength}")
        if style is None:
            yield
            return
        chosen = read_style(style, self.unet) if isinstance(style, Path) else self.style(style)
        try:
            with styled(self.unet, chosen, strength):
                self.word = None if chosen.word is None else strength * chosen.word
                yield
        finally:
            self.word = None

    def learn_style(self, image: NDArray[np.uint8], path: str | Path, **options: Any) -> Path:
        """Learns a style from one picture and writes it to `path`; see `model.style_learning`."""
        from model.style_learning import learn_style  # reads peft in, which takes seconds and few need

        return learn_style(self, image, Path(path), **options)

    def make(self, prompt: str, options: Options, given: Given = NOTHING) -> Clip:
        """One video, from what is asked for and what is given."""
        (drawn,) = self.draw([Asked(prompt, options)], given, options.on_step)
        return self.finish(drawn, given)
