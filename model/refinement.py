"""What sampling leaves in a small network's videos is taken out again: grain of errors that no later step mends, and
the haloes and glaring colours of guidance.

The finished sample is noised once more and estimated by the network, as in restart sampling (Xu et al. 2023), but
several times, each with noise of its own and without guidance, and the estimates are averaged: what was there by chance
goes with the chance, what the network is sure of stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from model.denoising import Condition, InvalidOutput, Network, OnStep, Revision, Schedule, StepInfo, Threshold

LEVELS = 100
"""Steps of the schedule in which the level is looked up."""


@dataclass(frozen=True)
class Refinement:
    """passes: estimates that are averaged, 0 to 16. level: share of noise in what they are made from, above 0 and below
    1.
    """

    passes: int = 0
    level: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.passes <= 16:
            raise ValueError(f"refinement passes must be 0 to 16, got {self.passes}")
        if not 0 < self.level < 1:
            raise ValueError(f"refinement level must be above 0 and below 1, got {self.level}")


def refine(
    network: Network,
    scheduler: Any,
    clean: Tensor,
    condition: Condition,
    refinement: Refinement,
    generators: Sequence[Generator],
    *,
    network_predicts: str | None = None,
    revise: Revision | None = None,
    threshold: Threshold | None = None,
    keep_known: Revision | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """The mean of what the network sees in `clean` (b, c, t, h, w), float32, noised to levels around that of the
    refinement; `clean` itself if there are no passes.

    condition: what the network is told, with the prompt. generators: of each video's noise. The rest is as for
    `denoise`.

    Raises InvalidOutput when an estimate is not finite.
    """
    if not refinement.passes:
        return clean
    schedule = Schedule.of(scheduler, LEVELS, clean.device, network_predicts)
    threshold = schedule.threshold or threshold
    first = nearest(schedule, refinement.level) - refinement.passes // 2
    total = torch.zeros_like(clean)
    for step in range(refinement.passes):
        # neighbouring levels, as the network of a loop is cut open elsewhere at each
        index = min(max(first + step, 0), len(schedule.timesteps) - 1)
        alpha, sigma = schedule.noise_level(index)
        rows = [torch.randn(clean.shape[1:], generator=generator) for generator in generators]
        z = alpha * clean + sigma * torch.stack(rows).to(clean)
        x0 = schedule.estimate(network, z, index, condition)
        if not torch.isfinite(x0).all():
            raise InvalidOutput(f"the network's output is not finite in pass {step + 1} of {refinement.passes}")
        x0 = x0 if revise is None else revise(x0)
        total += x0 if threshold is None else threshold(x0)
        if on_step is not None:
            mean = total / (step + 1)
            on_step(StepInfo("refine", step + 1, refinement.passes, mean if keep_known is None else keep_known(mean)))
    mean = total / refinement.passes
    return mean if keep_known is None else keep_known(mean)


def nearest(schedule: Schedule, level: float) -> int:
    """The step whose share of noise is nearest to `level`."""

    def distance(index: int) -> float:
        alpha, sigma = schedule.noise_level(index)
        return abs(sigma / (alpha + sigma) - level)

    return min(range(len(schedule.timesteps)), key=distance)
