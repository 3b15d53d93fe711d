"""From a prompt, and what is known of the video, to frames: the five tasks (Lumiere, sections 3 and 4).

All of them are one call, `make`: text, noise, denoising, decoding, enlarging, and the known pixels put back. They
differ in what they know.

Letters: b videos, c channels, t frames, h height, w width. Pixels are in [-1, 1] until the last stage.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model import checkpoint
from model.clip import FRAMES_AT_ONCE, Clip, Stopwatch, joined, to_frames
from model.conditioning import (
    NO_MARGINS,
    Frames,
    Keyframe,
    Known,
    Margins,
    Region,
    Resize,
    chunks,
    from_keyframes,
    from_still,
    from_video,
    keep,
    on_grid,
    place,
    placement,
    without_first_frame,
)
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
from model.loading import component_names, load_components, settings_of
from model.looping import looped
from model.multidiffusion import over_windows, windows
from model.options import NOTHING, Asked, Drawn, Given, Options
from model.stunet import STUNet
from model.style import Style, find_styles, read_style, style_slug, styled
from model.super_resolution import Settings, SuperResolution, enlarge
from model.text import TextEncoders, encode_text

__all__ = ["Clip", "Keyframe", "LumierePipeline", "Margins", "Options", "to_frames"]

WINDOW_FRAMES = 80
"""Frames of a clip that the network was trained on; longer videos are made in windows of so many."""
WINDOW_OVERLAP = 20
UNTOLD_STRENGTH = 0.9
"""A network that is not told what is known begins image-to-video and cinemagraphs from the given frames, noised so far;
without that hint it would draw a scene of its own after the first frame.
"""


class LumierePipeline(LatentSpace, DiffusionPipeline):
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

    @property
    def text_encoders(self) -> TextEncoders:
        pairs = [(self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2)]
        return TextEncoders(
            tuple(pair for pair in pairs if pair[1] is not None), self.config.force_zeros_for_empty_prompt
        )

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
        the image; with it the first frame, too, is drawn where it moves: an exact one would stand out in every round.
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
        strength: float = 0.6,
        style_strength: float = 1.0,
        resize: Resize = "cover",
        **options: Any,
    ) -> Clip:
        """Makes `video`, uint8 (t, h, w, 3), anew after the prompt, or a new video in a named style, or both.

        strength: the share of the steps that `video` is taken back and made again (SDEdit): 0 leaves it nearly as it
        is, 1 ignores it. style: one of `styles`, or a file that `learn_style` wrote. style_strength: how far its
        weights replace the image model's (section 4.1).
        """
        if video is None and style is None:
            raise ValueError("video or style must be given")
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

    def in_style(self, style: str | Path | None, strength: float) -> AbstractContextManager[None]:
        """A context in which the network draws in a style: None, one of `styles`, or a file."""
        if not 0 <= strength <= 1:
            raise ValueError(f"style_strength must be 0 to 1, got {strength}")
        if style is None:
            return nullcontext()
        weights = read_style(style, self.unet) if isinstance(style, Path) else self.style(style)
        return styled(self.unet, weights, strength)

    def learn_style(self, image: NDArray[np.uint8], path: str | Path, **options: Any) -> Path:
        """Learns a style from one picture and writes it to `path`; see `model.style_learning`."""
        from model.style_learning import learn_style  # reads peft in, which takes seconds and few need

        return learn_style(self, image, Path(path), **options)

    def make(self, prompt: str, options: Options, given: Given = NOTHING) -> Clip:
        """One video, from what is asked for and what is given."""
        (drawn,) = self.draw([Asked(prompt, options)], given, options.on_step)
        return self.finish(drawn, given)

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
        batched = self.device.type != "cpu"
        guidance = Guidance(scale, options.guidance_rescale, options.guidance_interval, batched)
        solver = self.scheduler if options.scheduler is None else make_scheduler(options.scheduler, self.scheduler)
        watch = Stopwatch(self.device)

        with watch.stage("text"):
            texts = [encode_text(self.text_encoders, [each.prompt, each.options.negative_prompt]) for each in asked]
            shape = self.latent_shape(num_frames, height, width)
            frame = [cells * self.pixels_per_cell for cells in shape[-2:]]
            told_of = [text.conditions(*frame) for text in texts]
            positive, negative = (reduce(concatenate, conditions) for conditions in zip(*told_of, strict=True))
        with watch.stage("denoise"):
            known = None if given.known is None else self.known_latents(given.known, shape)
            told = known if given.told is None else self.known_latents(given.told, shape)
            generators = [torch.Generator().manual_seed(each.options.seed) for each in asked]
            noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
            latents = denoise(
                self.network(num_frames, told, given.loop),
                solver,
                noise.to(self.device),
                positive,
                negative,
                steps=steps,
                network_predicts=prediction_type(self.scheduler),
                guidance=guidance,
                threshold=clamp if self.vae is None else None,
                keep_known=None if known is None else known.keep,
                generator=generators if len(asked) > 1 else generators[0],
                on_step=on_step,
                source=None if given.source is None else self.source_latents(given.source, shape),
                strength=given.strength,
            )
        return [
            Drawn(row, each.options, prompted, unprompted, text, replace(watch, seconds=dict(watch.seconds)))
            for row, each, (prompted, unprompted), text in zip(latents.split(1), asked, told_of, texts, strict=True)
        ]

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
            if given.known is not None:
                frames = keep(frames, given.known)
        upscale = "super-resolution" if enlarging else "none" if base_size == (height, width) else "bicubic"
        truncated = text.tokens_given > text.tokens_max
        return Clip(frames, watch.seconds, upscale, text.tokens_used, text.tokens_max, truncated)

    def network(self, num_frames: int, known: KnownLatents | None, loop: bool) -> Network:
        """`predict` for a clip of any length, told what is known if it can be."""
        length = self.card.get("window_frames", WINDOW_FRAMES)
        predict = over_windows(self.predict, windows(num_frames, length, min(WINDOW_OVERLAP, length // 2)))
        if loop:
            predict = looped(predict)
        if known is None or not self.unet.config.known_channels:
            return predict

        def told(sample: Tensor, timesteps: Tensor, **condition: Any) -> Tensor:
            channels = known.channels.expand(len(sample), -1, -1, -1, -1)
            return predict(torch.cat([sample, channels], dim=1), timesteps, **condition)

        return told

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

    def predict(self, sample: Tensor, timesteps: Tensor, **condition: Any) -> Tensor:
        """The network's prediction, at its precision."""
        told = in_precision(condition, self.unet.dtype)
        return self.unet(sample.to(self.unet.dtype), timesteps, **told, return_dict=False)[0]


def in_precision(condition: Condition, dtype: torch.dtype) -> Condition:
    return {
        key: in_precision(value, dtype) if isinstance(value, dict) else value.to(dtype)
        for key, value in condition.items()
    }
