"""Endless batches of rendered clips with tokenized captions; batch i is a function of (seed, i) alone, so training
resumes exactly."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast

from model.inflation import CLIP_FRAMES
from model.training.scenes.attributes import STYLES, sample_scenes
from model.training.scenes.captions import captions
from model.training.scenes.render import FRAME_RATE, render_with_cover
from model.training.text_encoder import tokenize

SUBJECT_WEIGHT = 3.0
"""What a pixel of the subject weighs in the loss beyond one of the background."""


@dataclass(frozen=True)
class BatchConfig:
    """What one batch holds: `scenes` clips of `frames` frames, every `stride`-th of the clip's 80.

    With `stills` the frames are scattered over the clip and meant as single pictures; with `anywhere` they follow on
    each other from any moment on, where they else begin with the clip, so that a network that is told moments is told
    the right ones. With `style` all are drawn in it, and no caption says so.
    """

    scenes: int
    frames: int
    stride: int = 1
    stills: bool = False
    anywhere: bool = False
    size: int = 32
    seed: int = 0
    caption_dropout: float = 0.1
    pair_share: float = 0.2
    camera_share: float = 0.12
    turning_share: float = 0.0
    style: str | None = None


@dataclass(frozen=True)
class Batch:
    """uint8 frames (n, 3, t, h, w), uint8 coverage of the subject (n, 1, t, h, w), token ids (n, tokens) and the
    moments of the frames (n, t), in frames of a clip.
    """

    frames: Tensor
    cover: Tensor
    tokens: Tensor
    moments: Tensor

    @property
    def pixels(self) -> Tensor:
        """Frames in [-1, 1]."""
        return self.frames.float() / 127.5 - 1

    @property
    def salience(self) -> Tensor:
        """Weight of each pixel in the loss, (n, 1, t, h, w): subjects are small and matter most."""
        return 1 + SUBJECT_WEIGHT * (self.cover.float() / 255)


def make_batch(config: BatchConfig, tokenizer: PreTrainedTokenizerFast, index: int, device: str = "cpu") -> Batch:
    """The `index`-th batch of the endless sequence, rendered on `device`."""
    seed = (config.seed * 1_000_003 + index) % 2**31
    generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    plain_share = 0.8 if config.style is None else 1.0
    scenes = sample_scenes(
        config.scenes,
        generator,
        "train",
        plain_share,
        config.pair_share,
        config.camera_share,
        config.turning_share,
    )
    if config.stills:
        times = torch.rand(config.scenes, config.frames, generator=generator) * (CLIP_FRAMES / FRAME_RATE)
    else:
        slack = CLIP_FRAMES - 1 - (config.frames - 1) * config.stride
        offset = torch.randint(slack + 1, (config.scenes, 1), generator=generator) * config.anywhere
        times = (offset + torch.arange(config.frames) * config.stride) / FRAME_RATE
    texts = [caption.text if rng.random() >= config.caption_dropout else "" for caption in captions(scenes, rng)]
    if config.style is not None:
        scenes = replace(scenes, style=torch.full_like(scenes.style, STYLES.index(config.style)))
    frames, cover = render_with_cover(scenes.to(device), times, config.size)
    return Batch(_bytes((frames + 1) / 2), _bytes(cover), tokenize(tokenizer, texts), times * FRAME_RATE)


def _bytes(values: Tensor) -> Tensor:
    return (values * 255).round().clamp(0, 255).to(torch.uint8)


class RenderedBatches(IterableDataset[Batch]):
    """Batches from `start` on, dealt out to the loader's workers in turn."""

    def __init__(self, config: BatchConfig, tokenizer: PreTrainedTokenizerFast, start: int = 0) -> None:
        self.config, self.tokenizer, self.start = config, tokenizer, start

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        info = torch.utils.data.get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        index = self.start + worker
        while True:
            yield make_batch(self.config, self.tokenizer, index)
            index += workers


def batch_loader(
    config: BatchConfig, tokenizer: PreTrainedTokenizerFast, start: int, device: str = "cpu", workers: int = 1
) -> Iterator[Batch]:
    """Batches `start`, `start` + 1, …: rendered ahead by worker processes for the CPU, in place on another device."""
    if device != "cpu":
        return (make_batch(config, tokenizer, index, device) for index in itertools.count(start))
    batches = RenderedBatches(config, tokenizer, start)
    return iter(DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=4))
