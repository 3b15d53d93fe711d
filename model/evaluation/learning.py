"""The loop that trains the small networks of the evaluation: resumed where it stopped, the same in slices as in one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Schedule:
    """AdamW over `steps`; the learning rate rises over a tenth of them and falls along a cosine."""

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    save_every: int = 50


def learn(network: nn.Module, schedule: Schedule, loss_of: Callable[[int], Tensor], checkpoint: Path) -> None:
    """Trains `network` on the loss of every step, from `checkpoint` if there is one; removes that when it is done."""
    optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.learning_rate, schedule.steps, pct_start=0.1)
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        rate.load_state_dict(saved["rate"])
        first = saved["step"]
    for step in range(first, schedule.steps):
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if (step + 1) % schedule.save_every == 0:
            print(f"step {step + 1} of {schedule.steps}: loss {loss.item():.3f}", flush=True)
            parts = {"network": network, "optimizer": optimizer, "rate": rate}
            partial = checkpoint.with_suffix(".partial")
            torch.save({**{name: part.state_dict() for name, part in parts.items()}, "step": step + 1}, partial)
            partial.replace(checkpoint)
    checkpoint.unlink(missing_ok=True)
