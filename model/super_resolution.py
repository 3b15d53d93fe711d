"""Spatial super-resolution of whole videos (Lumiere, section 3.2): a Space-Time U-Net on windows of a few frames, fused
at every step by MultiDiffusion.

What is denoised is the residual over bicubic interpolation, divided by its spread, on folded pixels. The low-resolution
video is concatenated, with a little noise that makes the network robust to what a base model draws (Ho et al. 2022,
"Cascaded Diffusion Models", section 4.2), and the network is told how much.

Every step is a stage that takes blocks of frames in and hands blocks on, each as soon as the windows that cover it are
done: a chain of them holds a few windows per step, however long the video is.

Letters: c channels, t frames, h height, w width of the low-resolution video; H, W of the result.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor

from model.denoising import Condition, Guidance, InvalidOutput, OnStep, StepInfo, clamp
from model.folding import fold, unfold
from model.multidiffusion import fuse, repeated, windows
from model.stunet import STUNet, with_arguments_of

TIMESTEPS = 1000
"""Noise levels are told as so many times t, as diffusers' flow schedulers do."""
SEED_OFFSET = 0x5DEECE66D
"""Keeps this noise apart from the base model's, which has the same seed."""

KnownPixels = Callable[[slice], tuple[Tensor, Tensor]]
"""Some frames -> known pixels C (1, 3, t, H, W) in [-1, 1] and their mask M (1, 1, t, H, W), 1 where known."""


class SuperResolution(STUNet):
    """A Space-Time U-Net whose input is a noisy residual (3 p^2 channels) and the low-resolution video on the same grid
    (3 (p / scale)^2 channels). All arguments of `STUNet`, and:

    scale: times the low resolution. patch_size: p, a multiple of it. residual_spread: standard deviation of the
    residual.
    """

    @register_to_config
    @with_arguments_of(STUNet.__init__)
    def __init__(self, *, scale: int = 4, patch_size: int = 8, residual_spread: float = 0.1, **network: Any) -> None:
        super().__init__(**network)
        if patch_size % scale:
            raise ValueError(f"patch_size must be a multiple of scale, got {patch_size} and {scale}")

    @property
    def low_patch(self) -> int:
        """Pixels of the low-resolution video along one side of a cell."""
        return self.config.patch_size // self.config.scale

    def sample_shape(self, low: Tensor) -> tuple[int, int, int]:
        """Channels, rows and columns of what is denoised."""
        height, width = (side // self.low_patch for side in low.shape[-2:])
        return 3 * self.config.patch_size**2, height, width

    def interpolated(self, low: Tensor) -> Tensor:
        """What the residual is counted from: (1, 3, t, h, w) -> (1, 3, t, H, W)."""
        frames = rearrange(low, "b c t h w -> (b t) c h w")
        frames = F.interpolate(frames, scale_factor=float(self.config.scale), mode="bicubic")
        return rearrange(frames, "(b t) c h w -> b c t h w", b=low.shape[0])

    def to_residual(self, pixels: Tensor, interpolated: Tensor) -> Tensor:
        return fold((pixels - interpolated) / self.config.residual_spread, self.config.patch_size)

    def to_pixels(self, residual: Tensor, interpolated: Tensor) -> Tensor:
        return interpolated + self.config.residual_spread * unfold(residual, self.config.patch_size)

    def thresholded(self, pixels: Tensor) -> Tensor:
        """An estimate, brought into [-1, 1]."""
        return clamp(pixels)

    def predict(self, noisy: Tensor, low: Tensor, level: Tensor, augmentation: Tensor, **condition: Any) -> Tensor:
        """The clean residual. noisy: (b, 3 p^2, t, h', w') at noise `level` (b,). low: (b, 3, t, h, w), to which noise
        of standard deviation `augmentation` (b,) was added.
        """
        sample = torch.cat([noisy, fold(low, self.low_patch)], dim=1).to(self.dtype)
        told = {name: value.to(self.dtype) if isinstance(value, Tensor) else value for name, value in condition.items()}
        return self(sample, level * TIMESTEPS, class_labels=augmentation * TIMESTEPS, **told).sample.float()


@dataclass(frozen=True)
class Settings:
    """steps: of denoising. augmentation: standard deviation of the noise on the low-resolution video, of 2 for its
    range. shift: leans the steps to high noise levels. guidance_scale: see `Guidance`. window_frames, overlap_frames,
    window_batch: how many frames are seen at once, shared by neighbours, and how many windows run at once.
    """

    steps: int = 3
    augmentation: float = 0.04
    shift: float = 1.0
    guidance_scale: float = 1.0
    window_frames: int = 16
    overlap_frames: int = 4
    window_batch: int = 1

    @property
    def guidance(self) -> Guidance:
        return Guidance(self.guidance_scale)

    @property
    def levels(self) -> list[float]:
        """Noise levels from 1 down to 0, `steps` + 1 of them."""
        shares = [1 - step / self.steps for step in range(self.steps + 1)]
        return [self.shift * share / (1 + (self.shift - 1) * share) for share in shares]


@torch.no_grad()
def enlarge(
    network: SuperResolution,
    low: Tensor,
    condition: Condition,
    settings: Settings = Settings(),
    *,
    negative: Condition | None = None,
    seed: int = 0,
    known: KnownPixels | None = None,
    on_step: OnStep | None = None,
) -> Iterator[Tensor]:
    """Blocks of consecutive frames (1, 3, n, H, W) in [-1, 1] of the video `low` (1, 3, t, h, w), `scale` times as
    large.

    condition, negative: what the network is told with and without the prompt; the second is for guidance alone.

    The same seed gives the same noise for every window length. Raises InvalidOutput when an estimate is not finite,
    ValueError for guidance that cannot be.
    """
    if negative is None and settings.guidance.scale != 1:
        raise ValueError("negative must be given where guidance_scale is not 1")
    height, width = (side * network.config.scale for side in low.shape[-2:])
    generator = torch.Generator().manual_seed((seed + SEED_OFFSET) % 2**64)
    noise = torch.randn(low.shape, generator=generator).to(low)
    given = padded(low + settings.augmentation * noise, network.low_patch)
    spans = windows(low.shape[2], settings.window_frames, settings.overlap_frames)
    groups = -(-len(spans) // settings.window_batch)
    progress = Progress(on_step, settings.steps * groups)

    blocks: Iterator[Tensor] = residual_noise(network, given, generator)
    for level, following in pairwise(settings.levels):
        stage = Stage(network, given, condition, negative, settings, spans, known, progress)
        blocks = stage.run(blocks, level, following)
    for pixels in blocks:
        yield pixels[..., :height, :width]


def padded(low: Tensor, multiple: int) -> Tensor:
    """Edges repeated until both sides are multiples."""
    rows, columns = (-side % multiple for side in low.shape[-2:])
    return F.pad(low, (0, columns, 0, rows, 0, 0), mode="replicate") if rows or columns else low


def residual_noise(network: SuperResolution, given: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Standard normal, one frame after the other: the whole is never held, and no window changes what is drawn."""
    channels, rows, columns = network.sample_shape(given)
    for _ in range(given.shape[2]):
        frame = torch.randn(1, channels, 1, rows, columns, generator=generator)
        yield frame.to(given)


class Progress:
    """Counts the groups of windows that are done, over all steps."""

    def __init__(self, on_step: OnStep | None, total: int) -> None:
        self.on_step, self.total, self.done = on_step, total, 0

    def advance(self) -> None:
        self.done += 1
        if self.on_step is not None:
            self.on_step(StepInfo("super-resolution", self.done, self.total, None))


@dataclass(frozen=True)
class Stage:
    """One step of denoising for the whole video, as a stream."""

    network: SuperResolution
    given: Tensor
    condition: Condition
    negative: Condition | None
    settings: Settings
    spans: list[slice]
    known: KnownPixels | None
    progress: Progress

    def run(self, blocks: Iterable[Tensor], level: float, following: float) -> Iterator[Tensor]:
        """Noisy residuals at noise `level` -> those at the `following` one, or pixels where that is 0."""
        network = self.network
        for part in fuse(blocks, self.spans, partial(self.predict, level=level), self.settings.window_batch):
            interpolated = network.interpolated(self.given[:, :, part.frames])
            pixels = network.to_pixels(part.prediction, interpolated)
            if not torch.isfinite(pixels).all():
                raise InvalidOutput("the super-resolution network's output is not finite")
            pixels = network.thresholded(pixels)
            if self.known is not None:
                colours, mask = self.known(part.frames)
                height, width = colours.shape[-2:]
                inside = pixels[..., :height, :width]
                inside.copy_(torch.where(mask.to(pixels.device) == 1, colours.to(pixels), inside))
            if following == 0:
                yield pixels
            else:
                clean = network.to_residual(pixels, interpolated)
                yield clean + (part.sample - clean) * (following / level)

    def predict(self, noisy: Tensor, group: list[slice], level: float) -> Tensor:
        rows = torch.ones(len(group), device=noisy.device)
        low = torch.cat([self.given[:, :, span] for span in group])

        def residual(condition: Condition) -> Tensor:
            told = {name: repeated(value, len(group)) for name, value in condition.items()}
            return self.network.predict(noisy, low, level * rows, self.settings.augmentation * rows, **told)

        guided = residual(self.condition)
        if self.negative is not None and self.settings.guidance.scale != 1:
            guided = self.settings.guidance.combine(guided, residual(self.negative))
        self.progress.advance()
        return guided
