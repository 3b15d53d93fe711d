"""The one denoising loop: from noise to a clean sample, with any network, any diffusers scheduler and any guidance.

Everything happens on x0, the network's estimate of the clean sample, whatever the network predicts: guidance,
thresholds and known pixels mean the same there for every kind of model. The estimate is then turned back into what
the scheduler expects, and the scheduler makes its one step for the whole clip.

Letters: b videos, c channels, t frames, h height, w width. z = alpha x0 + sigma eps is the network's input.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import diffusers
import torch
from diffusers import SchedulerMixin
from einops import rearrange
from torch import Tensor


class InvalidOutput(RuntimeError):
    """The network's output is not finite: no video can come of it."""


class StepInfo(NamedTuple):
    """Progress of one video. stage: "denoise", "refine" or "super-resolution". step: steps done of `steps`. x0: current
    estimate, (b, c, t, h, w), float32.
    """

    stage: str
    step: int
    steps: int
    x0: Tensor | None


OnStep = Callable[[StepInfo], None]

Condition = dict[str, Any]
"""Keyword arguments of the network beside sample and timestep, tensors with one row per video or dicts of such."""

Threshold = Callable[[Tensor], Tensor]
"""An estimate of pixels -> one within [-1, 1]."""

Revision = Callable[[Tensor], Tensor]
"""An estimate -> one that agrees with what is known beforehand, of its motion or of its values."""

Generators: TypeAlias = torch.Generator | list[torch.Generator] | None
"""What noise is drawn from: one for all videos, or one for each."""

Network = Callable[..., Tensor]
"""(z, timesteps (b,), **condition) -> prediction of z's shape, or with twice its channels if the variance was learned
too.
"""


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (Ho and Salimans 2022).

    scale: 1 is no guidance and costs half. rescale: how far the spread of the guided estimate is brought back to that
        of the unguided one (Lin et al. 2023, section 3.4), 0 to 1. interval: share of the steps that are guided,
        [first, last), of 1 (Kynkäänniemi et al. 2024).
    """

    scale: float = 1.0
    rescale: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        first, last = self.interval
        if not 1 <= self.scale <= 1000:
            raise ValueError(f"guidance_scale must be 1 to 1000, got {self.scale}")
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"guidance_rescale must be 0 to 1, got {self.rescale}")
        if not 0 <= first <= last <= 1:
            raise ValueError(f"guidance_interval must be two ascending numbers from 0 to 1, got {self.interval}")

    def acts_at(self, progress: float) -> bool:
        return self.scale != 1 and self.interval[0] <= progress < self.interval[1]

    def combine(self, positive: Tensor, negative: Tensor) -> Tensor:
        guided = negative + self.scale * (positive - negative)
        if self.rescale:
            spread = positive.flatten(1).std(1) / guided.flatten(1).std(1).clamp(min=1e-6)
            guided = guided * torch.lerp(torch.ones_like(spread), spread, self.rescale).view(-1, 1, 1, 1, 1)
        return guided


def clamp(x0: Tensor) -> Tensor:
    """Static thresholding, for samples that live in [-1, 1]."""
    return x0.clamp(-1, 1)


def dynamic_threshold(x0: Tensor, quantile: float, limit: float) -> Tensor:
    """Dynamic thresholding (Saharia et al. 2022, section 2.3), frame by frame: over the whole clip one bright frame
    would change all others, and `torch.quantile` refuses so many elements.

    limit: what lies beyond it is cut off before the rest is brought into [-1, 1], as diffusers' `sample_max_value`.
    """
    frames = rearrange(x0.abs(), "b c t h w -> b t (c h w)")
    largest = frames.kthvalue(max(1, round(quantile * frames.shape[-1])), dim=-1).values  # b t
    bound = largest.clamp(1, limit)[:, None, :, None, None]
    return x0.clamp(-bound, bound) / bound


def threshold_of(scheduler: Any) -> Threshold | None:
    """The dynamic thresholding that a scheduler's configuration asks for."""
    config = scheduler.config
    if not config.get("thresholding"):
        return None
    quantile, limit = config.get("dynamic_thresholding_ratio", 0.995), config.get("sample_max_value", 1.0)
    return partial(dynamic_threshold, quantile=quantile, limit=limit)


def make_scheduler(name: str, like: Any) -> Any:
    """The diffusers scheduler of this class name, with the noise schedule and prediction type of `like`."""
    kind: Any = getattr(diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        raise ValueError(f"scheduler must be the name of a diffusers scheduler, got {name!r}")
    shift = like.config.get("flow_shift", like.config.get("shift", 1.0))
    scheduler = kind.from_config(like.config, shift=shift)  # type: ignore[attr-defined]
    if is_flow(like) != is_flow(scheduler):
        kind_of_noise = "flow matching" if is_flow(like) else "variance preserving"
        raise ValueError(f"scheduler must be one for {kind_of_noise} models as this one is, {name} is not")
    return scheduler


def schedulers_like(scheduler: Any) -> list[str]:
    """The names that `make_scheduler` takes for a model of this one and that `denoise` can run, its own among them."""
    names = [name for name in dir(diffusers) if name.endswith("Scheduler") and not name.startswith("Flax")]
    return [name for name in names if solves(name, scheduler)]


def solves(name: str, like: Any) -> bool:
    """Whether a network that knows the clean sample gets it with this scheduler."""
    noise = torch.randn(1, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    clean = torch.full_like(noise, 0.3)
    try:
        made = make_scheduler(name, like)
        sample = denoise(lambda z, t: clean, made, noise, {}, {}, steps=4, network_predicts="sample")
    except Exception:  # each of them has errors of its own for what it is not made for
        return False
    return torch.allclose(sample, clean, atol=0.1)  # some end with a little noise


def heeded(scheduler: Any, key: str, default: Any) -> Any:
    """A value of the scheduler's config, if its class has such an argument: configs carry keys of other classes
    along.
    """
    known = key in inspect.signature(type(scheduler).__init__).parameters
    return scheduler.config.get(key, default) if known else default


def is_flow(scheduler: Any) -> bool:
    """Whether samples are noised as (1 - sigma) x0 + sigma eps."""
    return "FlowMatch" in type(scheduler).__name__ or bool(heeded(scheduler, "use_flow_sigmas", False))


def prediction_type(scheduler: Any) -> str:
    """What a network that was trained with this scheduler predicts, in diffusers' words."""
    return heeded(scheduler, "prediction_type", "flow_prediction")


@dataclass(frozen=True)
class Schedule:
    """A scheduler of its own for one run (they keep state), and what the network's predictions mean under it.

    network_predicts, scheduler_expects: prediction types in diffusers' words. They differ when another scheduler than
        the model's own is used.
    """

    scheduler: Any
    timesteps: Tensor
    network_predicts: str
    scheduler_expects: str
    threshold: Threshold | None

    @classmethod
    def of(cls, scheduler: Any, steps: int, device: torch.device, network_predicts: str | None = None) -> "Schedule":
        if hasattr(scheduler, "precondition_inputs") or not hasattr(scheduler, "set_timesteps"):
            raise ValueError(f"{type(scheduler).__name__} needs a loop of its own and is not supported")
        scheduler = copy.deepcopy(scheduler)
        config = scheduler.config
        threshold = threshold_of(scheduler)
        # what the scheduler would do to x0 and to learned variances is done here
        scheduler.register_to_config(thresholding=False)
        if str(config.get("variance_type", "")).startswith("learned"):
            scheduler.register_to_config(variance_type="fixed_small" if "DDPM" in type(scheduler).__name__ else None)
        scheduler.set_timesteps(steps, device=device)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        expects = prediction_type(scheduler)
        return cls(scheduler, scheduler.timesteps, network_predicts or expects, expects, threshold)

    def initial(self, noise: Tensor) -> Tensor:
        return noise * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def first_step(self, strength: float) -> int:
        """The step at which to begin if only the last `strength` of all steps, 0 to 1, are to be made."""
        order = getattr(self.scheduler, "order", 1)
        steps = len(self.timesteps)
        first = steps - max(1, round(steps * strength))
        return first - first % order

    def noised(self, clean: Tensor, noise: Tensor, index: int) -> Tensor:
        """`clean` as the scheduler has it at step `index`, from which the run then begins."""
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(index)
        alpha, sigma = self.noise_level(index)
        scale = self.network_input(torch.ones((), device=clean.device), index)
        return (alpha * clean + sigma * noise) / scale

    def network_input(self, sample: Tensor, index: int) -> Tensor:
        if hasattr(self.scheduler, "scale_model_input"):
            return self.scheduler.scale_model_input(sample, self.timesteps[index])
        return sample

    def noise_level(self, index: int) -> tuple[float, float]:
        """(alpha, sigma) of z = alpha x0 + sigma eps at step `index`."""
        scheduler = self.scheduler
        if getattr(scheduler, "sigmas", None) is not None and len(scheduler.sigmas) > index:
            sigma = float(scheduler.sigmas[index])
            if is_flow(scheduler):
                return 1 - sigma, sigma
            alpha = (1 + sigma**2) ** -0.5
            return alpha, sigma * alpha
        product = float(scheduler.alphas_cumprod[int(self.timesteps[index])])
        return product**0.5, (1 - product) ** 0.5

    def x0(self, prediction: Tensor, z: Tensor, index: int) -> Tensor:
        """The clean sample that the network's prediction means."""
        alpha, sigma = self.noise_level(index)
        match self.network_predicts:
            case "sample" | "original_sample":
                return prediction
            case "epsilon":
                return (z - sigma * prediction) / alpha
            case "v_prediction":
                return alpha * z - sigma * prediction
            case "flow_prediction":
                return z - sigma * prediction
        raise ValueError(f"unknown prediction_type {self.network_predicts!r}")

    def estimate(self, network: Network, z: Tensor, index: int, condition: Condition) -> Tensor:
        """The clean sample that the network sees in z; a variance that it learned is not used."""
        timesteps = self.timesteps[index].expand(z.shape[0])
        return self.x0(network(z, timesteps, **condition).float()[:, : z.shape[1]], z, index)

    def prediction(self, x0: Tensor, z: Tensor, index: int) -> Tensor:
        """The prediction by which the scheduler will know `x0`."""
        alpha, sigma = self.noise_level(index)
        match self.scheduler_expects:
            case "sample" | "original_sample":
                return x0
            case "epsilon":
                return (z - alpha * x0) / sigma
            case "v_prediction":
                return (alpha * z - x0) / sigma
            case "flow_prediction":
                return (z - x0) / sigma
        raise ValueError(f"unknown prediction_type {self.scheduler_expects!r}")

    def step(self, prediction: Tensor, sample: Tensor, index: int, generator: Generators) -> Tensor:
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        options = {"generator": generator} if takes_generator else {}
        return self.scheduler.step(prediction, self.timesteps[index], sample, return_dict=False, **options)[0]


def concatenate(first: Any, second: Any) -> Any:
    if isinstance(first, dict):
        return {key: concatenate(first[key], second[key]) for key in first}
    return torch.cat([first, second]) if isinstance(first, Tensor) else first


def denoise(
    network: Network,
    scheduler: Any,
    noise: Tensor,
    positive: Condition,
    negative: Condition,
    *,
    steps: int,
    network_predicts: str | None = None,
    guidance: Guidance = Guidance(),
    revise: Revision | None = None,
    threshold: Threshold | None = None,
    keep_known: Revision | None = None,
    generator: Generators = None,
    on_step: OnStep | None = None,
    source: Tensor | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Denoises `noise` (b, c, t, h, w), standard normal, float32, in `steps` steps and returns x0 of the same shape.

    scheduler: a diffusers scheduler; a copy is used, the original keeps no trace. network_predicts: its prediction
        type, if it is not the scheduler's. positive, negative: what the network is told with and without the prompt.
    revise: applied to the guided estimate. threshold: applied to it next, unless the scheduler has one of its own.
        keep_known: sets what is known of x0, applied last. generator: noise of stochastic schedulers.
    on_step: called after every step; what it raises ends the run. source: a clean sample to begin from, noised as far
        as the last `strength` of the steps take back (SDEdit, Meng et al. 2022).

    What is known is noised with `noise` at every step, as the solver goes from known x0 to sample: known cells follow
    alpha known + sigma noise exactly.

    Raises InvalidOutput when an estimate is not finite.
    """
    schedule = Schedule.of(scheduler, steps, noise.device, network_predicts)
    threshold = schedule.threshold or threshold
    estimate = partial(schedule.estimate, network)
    total = len(schedule.timesteps)
    first = 0 if source is None else schedule.first_step(strength)
    sample = schedule.initial(noise) if source is None else schedule.noised(source, noise, first)

    x0 = sample
    for index in range(first, total):
        z = schedule.network_input(sample, index)
        if not guidance.acts_at(index / total):
            x0 = estimate(z, index, positive)
        else:
            both = estimate(torch.cat([z, z]), index, concatenate(positive, negative))
            x0 = guidance.combine(*both.chunk(2))
        if not torch.isfinite(x0).all():
            raise InvalidOutput(f"the network's output is not finite at step {index + 1} of {total}")
        if revise is not None:
            x0 = revise(x0)
        if threshold is not None:
            x0 = threshold(x0)
        if keep_known is not None:
            x0 = keep_known(x0)
        sample = schedule.step(schedule.prediction(x0, z, index), sample, index, generator)
        if on_step is not None:
            on_step(StepInfo("denoise", index + 1 - first, total - first, x0))
    return sample if keep_known is None else keep_known(sample)
