"""What a section of the evaluation is given, and what it gives back."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from model.evaluation.finder import Finder, load_finder
from model.evaluation.judge import Judge, clip_features, judged, load_judge
from model.evaluation.made import MadeVideos
from model.evaluation.rendered import to_tensor
from model.training.scenes.attributes import Split
from model.video_io import Frames

AT_ONCE = 8
Unit = str
"""share (printed in per cent), dB, s, or nothing."""


@dataclass(frozen=True)
class Row:
    """A figure of the model's videos. rendered: the same of clips of the world that show what was asked for, or what
    the measure itself is worth. count: videos behind it.
    """

    measure: str
    model: float | None
    rendered: float | None
    count: int
    unit: Unit = ""

    @classmethod
    def both(cls, measure: str, figures: Sequence[float | None], count: int, unit: Unit = "") -> Self:
        """figures: of the model's videos, and of rendered clips."""
        model, rendered = figures
        return cls(measure, model, rendered, count, unit)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of a share of the model's: where it lies with 95 % confidence (Wilson 1927)."""
        if self.unit != "share" or self.model is None or not self.count:
            return None
        wide = 1.96**2 / self.count
        middle = (self.model + wide / 2) / (1 + wide)
        half = math.sqrt(wide * (self.model * (1 - self.model) + wide / 4)) / (1 + wide)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Section:
    """rows: the figures. videos: what was asked for and seen, one by one. sheet: clips and captions to look at."""

    rows: list[Row]
    videos: list[dict[str, object]] = field(default_factory=list)
    sheet: list[tuple[str, Frames]] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """made: the model at work. prompts: how many, of which combinations (`split`), and which share of them in the plain
    style. seed: of prompts and videos.
    """

    made: MadeVideos
    prompts: int
    seed: int
    split: Split = "held-out"
    plain_share: float = 0.8

    @cached_property
    def judge(self) -> Judge:
        return load_judge()

    @cached_property
    def finder(self) -> Finder:
        return load_finder()

    @property
    def some_prompts(self) -> int:
        """For sections that make several videos for each."""
        return max(2, self.prompts // 4)

    def shown(self, clips: Sequence[Frames]) -> list[dict[str, str]]:
        """What the judge sees in each clip."""
        return [answer for some in groups(clips) for answer in judged(self.judge, to_tensor(some))]

    @torch.no_grad()
    def features(self, clips: Sequence[Frames]) -> Tensor:
        return torch.cat([clip_features(self.judge, to_tensor(some)) for some in groups(clips)])


def groups(clips: Sequence[Frames]) -> Iterable[Sequence[Frames]]:
    return (clips[start : start + AT_ONCE] for start in range(0, len(clips), AT_ONCE))


def mean(values: Iterable[float | bool]) -> float | None:
    """None of nothing."""
    numbers = [float(value) for value in values]
    return statistics.fmean(numbers) if numbers else None
