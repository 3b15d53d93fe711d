"""How the judge is taught: on single frames first, which are many and cheap, then on clips. All are softened
and made noisy at random, and clips move less far than the world does, so that a softer, slower generator is judged by
what it shows.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from model.evaluation.disturbance import disturbed
from model.evaluation.judge import (
    JUDGED_FRAMES,
    JUDGED_SIZE,
    STRIDE,
    WEIGHTS,
    Judge,
    judged,
    read_judge,
    save_judge,
)
from model.evaluation.learning import Schedule, learn
from model.training.flow import mixed_precision
from model.training.scenes.attributes import ATTRIBUTES, STYLES, Scenes, sample_scenes
from model.training.scenes.motions import CLIP_SECONDS
from model.training.scenes.render import frame_times, render

COLOURLESS_STYLE = "melting gold"
"""Clips in it have no colour to be told."""
COLOURS_OF_SUBJECTS = ("colour", "other_colour")
LEAST_MOVED = 0.55
"""Share of its movement that a clip shows at least: what grows to twice its size grows, though the world's grows
threefold."""
PLAIN_SHARE, PAIR_SHARE, CAMERA_SHARE = 0.6, 0.3, 0.3


@dataclass(frozen=True)
class JudgeTraining:
    """`frame_steps` on single frames of `frame_batch` scenes, then `clip_steps` on `clip_batch` clips."""

    frame_steps: int = 3500
    frame_batch: int = 64
    clip_steps: int = 1600
    clip_batch: int = 16
    learning_rate: float = 2e-3
    seed: int = 77


def train_judge(
    config: JudgeTraining, path: Path = WEIGHTS, start_from: Path | None = None, clips: int = 1024
) -> dict[str, float]:
    """Trains and saves a judge; returns its accuracy per attribute on `clips` rendered ones of seeds it has not seen.

    start_from: a judge, perhaps of a smaller world, to begin with.
    """
    torch.manual_seed(config.seed)
    judge = Judge()
    knows_frames = path.with_suffix(".frames")
    if knows_frames.exists():
        take_over(judge, knows_frames)
    elif start_from is not None:
        take_over(judge, start_from)

    def loss_of_frames(step: int) -> Tensor:
        stills, scenes = rendered_stills(config.frame_batch, config.seed * 1_000_003 + step)
        stills = disturbed(stills, Generator().manual_seed(step))
        with mixed_precision("cpu"):
            seen = judge.frame_features(stills.squeeze(2))
            return attribute_losses(judge.frame_answers(seen[:, None]), scenes)

    def loss_of_clips(step: int) -> Tensor:
        seed = config.seed * 1_000_003 + config.frame_steps + step
        clips, scenes = rendered_clips(config.clip_batch, seed, LEAST_MOVED)
        clips = disturbed(clips, Generator().manual_seed(seed))
        with mixed_precision("cpu"):
            return attribute_losses(judge(clips), scenes)

    checkpoint = path.with_suffix(".checkpoint")
    if not knows_frames.exists():
        learn(judge, Schedule(config.frame_steps, config.learning_rate), loss_of_frames, checkpoint)
        save_judge(judge, knows_frames)
    learn(judge, Schedule(config.clip_steps, config.learning_rate), loss_of_clips, checkpoint)
    knows_frames.unlink()
    save_judge(judge, path)
    return judge_accuracy(judge.eval(), clips, seed=config.seed + 5_000_011)


@torch.no_grad()
def take_over(judge: Judge, path: Path) -> None:
    """Weights of an older judge; those of a class go to where that class is now, new classes keep their own."""
    tensors, classes = read_judge(path)
    fresh = judge.state_dict()
    for attribute, values in ATTRIBUTES.items():
        for part in (f"heads.{attribute}.weight", f"heads.{attribute}.bias"):
            rows = fresh[part].clone()
            for old, name in enumerate(classes.get(attribute, ())):
                if name in values:
                    rows[values.index(name)] = tensors[part][old]
            tensors[part] = rows
    judge.load_state_dict({name: tensors[name] for name in fresh})


def drawn_scenes(n: int, generator: Generator) -> Scenes:
    """Any combination, held-out ones included, pairs and moving cameras among them: the judge must know the whole
    world.
    """
    return sample_scenes(n, generator, "any", PLAIN_SHARE, PAIR_SHARE, CAMERA_SHARE)


def rendered_clips(n: int, seed: int, least_moved: float = 1.0) -> tuple[Tensor, Scenes]:
    """Each shows a share of its movement, from `least_moved` to all of it, about its middle in the same five
    seconds.
    """
    generator = Generator().manual_seed(seed)
    scenes = drawn_scenes(n, generator)
    times = frame_times(JUDGED_FRAMES, STRIDE)
    shares = least_moved + (1 - least_moved) * torch.rand(n, 1, generator=generator)
    return render(scenes, times.mean() + shares * (times - times.mean()), JUDGED_SIZE), scenes


def rendered_stills(n: int, seed: int) -> tuple[Tensor, Scenes]:
    """One frame (n, 3, 1, h, w) of each of n scenes, at any moment."""
    generator = Generator().manual_seed(seed)
    scenes = drawn_scenes(n, generator)
    return render(scenes, CLIP_SECONDS * torch.rand(n, 1, generator=generator), JUDGED_SIZE), scenes


def attribute_losses(answers: dict[str, Tensor], scenes: Scenes) -> Tensor:
    """Sum of the cross-entropies over what can be told."""
    coloured = scenes.style != STYLES.index(COLOURLESS_STYLE)
    losses = []
    for name, logits in answers.items():
        each = F.cross_entropy(logits, getattr(scenes, name), reduction="none")
        losses.append(each[coloured].mean() if name in COLOURS_OF_SUBJECTS else each.mean())
    return torch.stack(losses).sum()


def can_be_told(attribute: str, named: dict[str, str]) -> bool:
    """Whether a clip shows an attribute at all."""
    return not (attribute in COLOURS_OF_SUBJECTS and named["style"] == COLOURLESS_STYLE)


def judge_accuracy(judge: Judge, clips: int, seed: int) -> dict[str, float]:
    """Share of rendered clips judged right, per attribute, where it can be told."""
    right: dict[str, list[bool]] = {name: [] for name in ATTRIBUTES}
    for start in range(0, clips, 32):
        frames, scenes = rendered_clips(min(32, clips - start), seed + start)
        for i, answer in enumerate(judged(judge, frames)):
            truth = scenes.names(i)
            for name in right:
                if can_be_told(name, truth):
                    right[name].append(answer[name] == truth[name])
    return {name: sum(answers) / len(answers) for name, answers in right.items()}
