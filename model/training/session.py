"""What every training stage shares: one loop with EMA weights, resumable checkpoints, a log of JSON lines and a
progress bar."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.training.batches import Batch


@dataclass(frozen=True)
class Schedule:
    """Length and pace of a stage. The learning rate rises over `warmup` steps, then falls along a cosine to a
    twentieth."""

    steps: int
    learning_rate: float
    warmup: int = 150
    weight_decay: float = 0.01
    ema_decay: float = 0.998
    clip_norm: float = 1.0
    save_every: int = 50
    sample_every: int = 500

    def rate(self, step: int) -> float:
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * progress)).item())
        return self.learning_rate * (0.05 + 0.95 * cosine)


class Averaged:
    """Exponential moving average of named parameters, with a warm-up so that early steps are forgotten."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: dict[str, nn.Parameter], step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), [p.detach() for p in parameters.values()], 1 - decay)

    @torch.no_grad()
    def swap(self, parameters: dict[str, nn.Parameter]) -> None:
        """Exchanges the averaged values with the live ones; calling it again restores them."""
        for name, value in parameters.items():
            live = value.detach().clone()
            value.copy_(self.values[name])
            self.values[name] = live


class Session:
    """One stage's state: parameters in training, optimizer, average and step, saved as safetensors below `folder`.

    paces: what the learning rate of a parameter is multiplied by, 1 where it is not named.
    """

    def __init__(
        self,
        folder: Path,
        parameters: dict[str, nn.Parameter],
        schedule: Schedule,
        paces: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.folder, self.parameters, self.schedule = folder, parameters, schedule
        groups: dict[float, list[nn.Parameter]] = {}
        for name, value in parameters.items():
            groups.setdefault(paces.get(name, 1.0), []).append(value)
        self.optimizer = torch.optim.AdamW(
            [{"params": values, "pace": pace} for pace, values in groups.items()],
            lr=schedule.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=schedule.weight_decay,
        )
        self.average = Averaged(parameters, schedule.ema_decay)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self) -> bool:
        """Continues from the last checkpoint, if there is one."""
        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            return False
        tensors = load_file(path)
        self.step = int(tensors["step"])
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(tensors[f"live.{name}"])
                self.average.values[name] = tensors[f"average.{name}"].to(value.device)
        for name, value in self.parameters.items():
            if f"first.{name}" in tensors:
                self.optimizer.state[value] = {
                    "step": tensors["optimizer_step"].clone(),
                    "exp_avg": tensors[f"first.{name}"].to(value.device),
                    "exp_avg_sq": tensors[f"second.{name}"].to(value.device),
                }
        return True

    def save(self) -> None:
        tensors: dict[str, Tensor] = {"step": torch.tensor(self.step), "optimizer_step": torch.tensor(float(self.step))}
        for name, value in self.parameters.items():
            tensors[f"live.{name}"] = value.detach().cpu().contiguous()
            tensors[f"average.{name}"] = self.average.values[name].cpu().contiguous()
            state = self.optimizer.state.get(value)
            if state:
                tensors[f"first.{name}"] = state["exp_avg"].cpu().contiguous()
                tensors[f"second.{name}"] = state["exp_avg_sq"].cpu().contiguous()
        partial = self.folder / "checkpoint.partial"
        save_file(tensors, partial)
        partial.replace(self.folder / "checkpoint.safetensors")

    def run(
        self,
        batches: Iterator[Batch],
        loss_of: Callable[[Batch, int], Tensor],
        sample: Callable[[int], None] | None = None,
        stop_after: float | None = None,
    ) -> None:
        """Trains until the schedule's end, or until `stop_after` seconds have passed; saves and samples as it goes."""
        started, since, seen = time.monotonic(), time.monotonic(), 0
        losses: list[Tensor] = []
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as progress, (self.folder / "log.jsonl").open("a") as log:
            task = progress.add_task(self.folder.name, total=self.schedule.steps, completed=self.step)
            while self.step < self.schedule.steps:
                if stop_after is not None and time.monotonic() - started > stop_after:
                    break
                batch = next(batches)
                losses.append(self._update(loss_of(batch, self.step)))
                seen += len(batch.tokens)
                progress.update(task, completed=self.step)
                if self.step % 25 == 0:
                    pace = seen / (time.monotonic() - since)
                    line = {"step": self.step, "loss": torch.stack(losses).mean().item(), "clips_per_second": pace}
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    progress.update(task, description=f"{self.folder.name} loss {line['loss']:.4f}")
                    since, seen, losses = time.monotonic(), 0, []
                if self.step % self.schedule.save_every == 0:
                    self.save()
                if sample and self.step % self.schedule.sample_every == 0:
                    self._sample(sample)
        self.save()

    def _update(self, loss: Tensor) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = group["pace"] * self.schedule.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(self.parameters.values()), self.schedule.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.parameters, self.step)
        return loss.detach()

    def _sample(self, sample: Callable[[int], None]) -> None:
        self.average.swap(self.parameters)
        with torch.no_grad():
            sample(self.step)
        self.average.swap(self.parameters)
