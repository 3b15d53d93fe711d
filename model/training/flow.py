"""The training objective: rectified flow in which the network predicts the clean sample.

x_t = (1 - t) x_0 + t eps, t in (0, 1). Predicting x_0 and weighing its error as an error of the velocity (x_t - x_0)
/ t
is what works when a token carries more pixels than the network has channels (Li and He, "Back to Basics: Let Denoising
Generative Models Denoise", 2025); the weight is capped so that nearly clean samples do not outweigh the rest.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.checkpoint import default_dtype

TIMESTEPS = 1000
"""The network is told t * TIMESTEPS, as diffusers' flow schedulers do."""
WEIGHT_CAP = 10.0


def sample_times(n: int, shift: float | Sequence[float], generator: torch.Generator) -> Tensor:
    """n noise levels: logit-normal, then shifted towards noise (Esser et al. 2024, section 5.3.2), each by `shift` or
    by one of several at random.
    """
    t = torch.sigmoid(torch.randn(n, generator=generator))
    shifts = torch.tensor(shift).reshape(-1)
    if len(shifts) > 1:
        shifts = shifts[torch.randint(len(shifts), (n,), generator=generator)]
    return shifts * t / (1 + (shifts - 1) * t)


@contextmanager
def mixed_precision(device: str) -> Iterator[None]:
    """bfloat16 arithmetic on GPUs and on CPUs that have it in hardware, which few do.

    Attention is written out on CPUs: on frames as small as ours the gradient of the fused one takes a quarter of a
    step.
    """
    kind = torch.device(device).type
    quick = kind != "cpu" or default_dtype(torch.device(device)) == torch.bfloat16
    attention = sdpa_kernel(SDPBackend.MATH) if kind == "cpu" else nullcontext()
    with torch.autocast(kind, torch.bfloat16, enabled=quick), attention:
        yield


def noised(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t for t of shape (b,) and samples of any shape (b, ...)."""
    t = t.view(-1, *[1] * (clean.ndim - 1))
    return (1 - t) * clean + t * noise


def flow_loss(predicted: Tensor, clean: Tensor, t: Tensor, salience: Tensor) -> Tensor:
    """Mean over the batch of the capped velocity error; `salience`, of the samples' shape, weighs its elements."""
    error = ((predicted.float() - clean).square() * salience).flatten(1).mean(1)
    return (error * (1 / t.square()).clamp(max=WEIGHT_CAP)).mean()
