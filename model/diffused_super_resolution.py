"""The second stage of DeepFloyd IF as super-resolution of videos: an image U-Net that was trained to predict the noise
of a picture beside a smaller one, enlarged and noised, inflated in time.

It is run by `model.super_resolution.enlarge`, whose samples lie on the straight line between clean and noise. A noisy
sample of that line, divided by its spread, is one of the variance-preserving schedule that this network was trained on,
at the step of the same ratio of signal to noise.

Letters: b videos, c channels, t frames, h height, w width of the low-resolution video; H, W of the result.
"""

from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor

from model.denoising import clamp, dynamic_threshold
from model.stunet import STUNet, with_arguments_of

NOISE_SEED = 0x1F2


class DiffusedSuperResolution(STUNet):
    """A Space-Time U-Net whose input is a noisy video and the low-resolution one, enlarged and noised: 3 + 3 channels.
    All arguments of `STUNet`, and:

    scale: times the low resolution. noise_level: step to which the enlarged video is noised. schedule,
    noising_schedule: names of the noise schedules (`beta_schedule` of diffusers) of the result and of the enlarged one.
    threshold_quantile, threshold_limit: of dynamic thresholding (`dynamic_threshold`); None is static.
    """

    @register_to_config
    @with_arguments_of(STUNet.__init__)
    def __init__(
        self,
        *,
        scale: int = 4,
        noise_level: int = 250,
        schedule: str = "squaredcos_cap_v2",
        noising_schedule: str = "squaredcos_cap_v2",
        threshold_quantile: float | None = None,
        threshold_limit: float = 1.0,
        **network: Any,
    ) -> None:
        super().__init__(**network)

    @property
    def low_patch(self) -> int:
        """Sides of the low-resolution video are padded to multiples of it, so that the network can halve the result."""
        return max(1, 2**self.num_upsamplers // self.config.scale)

    @cached_property
    def signal(self) -> Tensor:
        """The share of signal power at each training step, falling."""
        return DDPMScheduler(beta_schedule=self.config.schedule).alphas_cumprod.double()

    @cached_property
    def told_signal(self) -> float:
        """The share of signal power in the enlarged video as the network sees it."""
        schedule = DDPMScheduler(beta_schedule=self.config.noising_schedule)
        return float(schedule.alphas_cumprod[self.config.noise_level])

    def sample_shape(self, low: Tensor) -> tuple[int, int, int]:
        """Channels, rows and columns of what is denoised."""
        height, width = (side * self.config.scale for side in low.shape[-2:])
        return 3, height, width

    def interpolated(self, low: Tensor) -> Tensor:
        """What the result is counted from: nothing."""
        return low.new_zeros(())

    def to_residual(self, pixels: Tensor, interpolated: Tensor) -> Tensor:
        return pixels

    def to_pixels(self, residual: Tensor, interpolated: Tensor) -> Tensor:
        return residual

    def thresholded(self, pixels: Tensor) -> Tensor:
        """An estimate, brought into [-1, 1]."""
        quantile, limit = self.config.threshold_quantile, self.config.threshold_limit
        return clamp(pixels) if quantile is None else dynamic_threshold(pixels, quantile, limit)

    def told(self, low: Tensor) -> Tensor:
        """The low-resolution video as the network sees it: (b, 3, t, h, w) -> (b, 3, t, H, W). All frames get the same
        noise, so that what it hides does not flicker, and no window sees another.
        """
        frames = rearrange(low, "b c t h w -> (b t) c h w")
        frames = F.interpolate(frames, scale_factor=float(self.config.scale), mode="bilinear", align_corners=True)
        noise = torch.randn(1, *frames.shape[1:], generator=torch.Generator().manual_seed(NOISE_SEED)).to(frames)
        noised = self.told_signal**0.5 * frames + (1 - self.told_signal) ** 0.5 * noise
        return rearrange(noised, "(b t) c h w -> b c t h w", b=low.shape[0])

    def predict(self, noisy: Tensor, low: Tensor, level: Tensor, augmentation: Tensor, **condition: Any) -> Tensor:
        """The clean video. noisy: (b, 3, t, H, W), (1 - level) x0 + level eps for a `level` (b,). low: (b, 3, t, h, w).

        augmentation: of no use here, as the noise that the network knows is that of `told`.
        """
        ratio = ((1 - level).square() / ((1 - level).square() + level.square())).double().cpu()
        steps = (self.signal - ratio[:, None]).abs().argmin(1)
        signal = self.signal[steps].to(noisy).view(-1, 1, 1, 1, 1)  # at the very beginning a little more than none
        spread = ((1 - level).square() + level.square()).sqrt().view(-1, 1, 1, 1, 1).to(noisy)
        sample = noisy / spread
        labels = torch.full_like(level, self.config.noise_level)
        network_input = torch.cat([sample, self.told(low)], dim=1).to(self.dtype)
        arguments = {
            name: value.to(self.dtype) if isinstance(value, Tensor) else value for name, value in condition.items()
        }
        predicted = self(network_input, steps.to(noisy.device), class_labels=labels, **arguments).sample
        noise = predicted.float()[:, :3]  # a learned variance follows
        return (sample - (1 - signal).sqrt() * noise) / signal.sqrt()
