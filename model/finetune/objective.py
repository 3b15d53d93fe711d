"""What a model is trained to predict, read off its scheduler: rectified flow or a variance-preserving schedule.

x_t = alpha x_0 + sigma eps.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.denoising import is_flow, prediction_type
from model.training.flow import WEIGHT_CAP, sample_times


@dataclass(frozen=True)
class Noised:
    """sample: x_t, (b, c, t, h, w). timesteps: (b,), what the network is told. alpha, sigma: (b, 1, 1, 1, 1)."""

    sample: Tensor
    timesteps: Tensor
    alpha: Tensor
    sigma: Tensor


def noised(
    scheduler: Any,
    clean: Tensor,
    noise: Tensor,
    generator: torch.Generator,
    highest: float = 1.0,
    flow_shift: float | None = None,
) -> Noised:
    """Noise levels as the model's kind is trained: logit-normal and shifted for flow, uniform otherwise.

    highest: share of the range of levels that is drawn from. flow_shift: in place of the scheduler's.
    """
    steps = scheduler.config.num_train_timesteps
    if is_flow(scheduler):
        shift = flow_shift or scheduler.config.get("flow_shift", scheduler.config.get("shift", 1.0))
        t = highest * sample_times(len(clean), shift, generator)
        timesteps, alpha, sigma = t * steps, 1 - t, t
    else:
        timesteps = torch.randint(0, max(1, round(highest * steps)), (len(clean),), generator=generator)
        product = scheduler.alphas_cumprod.cpu()[timesteps]
        alpha, sigma = product.sqrt(), (1 - product).sqrt()
    alpha, sigma = (level.float().view(-1, 1, 1, 1, 1).to(clean.device) for level in (alpha, sigma))
    return Noised(alpha * clean + sigma * noise, timesteps.to(clean.device), alpha, sigma)


def loss(scheduler: Any, predicted: Tensor, clean: Tensor, noise: Tensor, at: Noised) -> Tensor:
    """Mean squared error of the prediction. Learned variances, a second half of the channels, are left as they are.

    A flow model that predicts the clean sample is judged by its velocity, with a capped weight; see
    `model.training.flow`.
    """
    predicted = predicted.float()[:, : clean.shape[1]]
    kind = prediction_type(scheduler)
    match kind:
        case "epsilon":
            return (predicted - noise).square().mean()
        case "v_prediction":
            return (predicted - (at.alpha * noise - at.sigma * clean)).square().mean()
        case "flow_prediction":
            return (predicted - (noise - clean)).square().mean()
        case "sample" | "original_sample":
            weight = (1 / at.sigma.square()).clamp(max=WEIGHT_CAP) if is_flow(scheduler) else 1.0
            return ((predicted - clean).square() * weight).mean()
    raise ValueError(f"cannot train a model whose scheduler's prediction_type is {kind!r}")
