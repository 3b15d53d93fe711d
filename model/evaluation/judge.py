"""A small video classifier that says what a clip of the world shows, trained on rendered clips and never on generated
ones.

It looks at JUDGED_FRAMES frames spread over a clip. A convolutional net tells from each frame alone what can be told
from one (subject, colour, setting, style), and the answers of all frames are averaged; convolutions over the frames'
features tell the motion. Rendered clips are blurred, darkened and made noisy at random in training, so that a softer
generator is judged by what it shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from model.training.scenes.attributes import ATTRIBUTES, MOTIONS, STYLES, Scenes, sample_scenes
from model.training.scenes.render import frame_times, render

JUDGED_FRAMES = 16
STRIDE = 5
"""JUDGED_FRAMES frames STRIDE apart span a clip of 80."""
JUDGED_SIZE = 64
"""Pixels along each side of what the judge sees."""
CLIP_SECONDS = 5.0
FRAME_ATTRIBUTES = tuple(name for name in ATTRIBUTES if name != "motion")
"""What a single frame shows."""
WEIGHTS = Path(__file__).parent / "judge.safetensors"


class Judge(nn.Module):
    """Logits per attribute for clips (n, 3, JUDGED_FRAMES, JUDGED_SIZE, JUDGED_SIZE) in [-1, 1]."""

    def __init__(self, width: int = 32, features: int = 160) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 3 * width, 4 * width)
        self.frames = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(8, b), nn.SiLU())
                for a, b in pairwise(widths)
            ),
            nn.Flatten(),
            nn.Linear(4 * width * (JUDGED_SIZE // 16) ** 2, features),
            nn.SiLU(),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(features, len(ATTRIBUTES[name])) for name in FRAME_ATTRIBUTES})
        self.time = nn.Sequential(
            nn.Conv1d(features, features, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(features, features, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(features * JUDGED_FRAMES, 2 * features),
            nn.SiLU(),
            nn.Linear(2 * features, len(MOTIONS)),
        )

    def frame_features(self, frames: Tensor) -> Tensor:
        """(n, features) of frames (n, 3, JUDGED_SIZE, JUDGED_SIZE)."""
        return self.frames(frames.contiguous(memory_format=torch.channels_last))

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        n = len(clips)
        each = self.frame_features(rearrange(clips, "n c t h w -> (n t) c h w"))
        sequence = rearrange(each, "(n t) f -> n f t", n=n)
        answers = {
            name: rearrange(head(each).log_softmax(-1), "(n t) k -> n t k", n=n).mean(1)
            for name, head in self.heads.items()
        }
        return {**answers, "motion": self.time(sequence)}


@dataclass(frozen=True)
class JudgeTraining:
    """`frame_steps` on single frames of `frame_batch` scenes, then `clip_steps` on `clip_batch` clips."""

    frame_steps: int = 3000
    frame_batch: int = 64
    clip_steps: int = 1000
    clip_batch: int = 16
    learning_rate: float = 2e-3
    seed: int = 77


def rendered_clips(n: int, seed: int) -> tuple[Tensor, Scenes]:
    """Clips of any combination, held-out ones included: the judge must know the whole world."""
    scenes = sample_scenes(n, Generator().manual_seed(seed), split="any", plain_share=0.6)
    return render(scenes, frame_times(JUDGED_FRAMES, STRIDE), JUDGED_SIZE), scenes


def rendered_stills(n: int, seed: int) -> tuple[Tensor, Scenes]:
    """One frame (n, 3, 1, h, w) of each of n scenes, at any moment."""
    generator = Generator().manual_seed(seed)
    scenes = sample_scenes(n, generator, split="any", plain_share=0.6)
    return render(scenes, CLIP_SECONDS * torch.rand(n, 1, generator=generator), JUDGED_SIZE), scenes


def disturbed(clips: Tensor, generator: Generator) -> Tensor:
    """Softened, rescaled in brightness and made noisy, each to a random degree per batch."""
    amount = torch.rand(4, generator=generator)
    if amount[0] < 0.6:
        flat = rearrange(clips, "n c t h w -> (n t) c h w")
        small = F.interpolate(flat, scale_factor=1 / (1 + 0.8 * float(amount[1])), mode="area")
        clips = rearrange(
            F.interpolate(small, size=flat.shape[-2:], mode="bilinear"), "(n t) c h w -> n c t h w", t=clips.shape[2]
        )
    gain, noise = 0.85 + 0.3 * amount[2], 0.12 * amount[3]
    return (clips * gain + noise * torch.randn(clips.shape, generator=generator)).clamp(-1, 1)


def attribute_losses(answers: dict[str, Tensor], scenes: Scenes) -> Tensor:
    """Sum of the cross-entropies; a clip of melting gold has no colour to be told."""
    coloured = scenes.style != STYLES.index("melting gold")
    losses = []
    for name, logits in answers.items():
        each = F.cross_entropy(logits, getattr(scenes, name), reduction="none")
        losses.append(each[coloured].mean() if name == "colour" else each.mean())
    return torch.stack(losses).sum()


def train_judge(config: JudgeTraining, path: Path = WEIGHTS) -> dict[str, float]:
    """Trains and saves a judge; returns its accuracy per attribute on rendered clips of seeds it has not seen."""
    torch.manual_seed(config.seed)
    judge = Judge()
    total = config.frame_steps + config.clip_steps
    optimizer = torch.optim.AdamW(judge.parameters(), lr=config.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total, pct_start=0.1)
    for step in range(total):
        seed, generator = config.seed * 1_000_003 + step, Generator().manual_seed(step)
        if step < config.frame_steps:
            stills, scenes = rendered_stills(config.frame_batch, seed)
            seen = judge.frame_features(disturbed(stills, generator).squeeze(2))
            answers = {name: head(seen) for name, head in judge.heads.items()}
        else:
            clips, scenes = rendered_clips(config.clip_batch, seed)
            answers = judge(disturbed(clips, generator))
        loss = attribute_losses(answers, scenes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"judge step {step}: loss {loss.item():.3f}", flush=True)
    save_file({name: value.contiguous() for name, value in judge.state_dict().items()}, path)
    return judge_accuracy(judge.eval(), clips=512, seed=config.seed + 5_000_011)


def load_judge(path: Path = WEIGHTS) -> Judge:
    judge = Judge()
    judge.load_state_dict(load_file(path))
    return judge.eval()


@torch.no_grad()
def judged(judge: Judge, clips: Tensor) -> list[dict[str, str]]:
    """The named attributes of each clip (n, 3, t, h, w) in [-1, 1] of any size, its t frames spanning five seconds."""
    pick = torch.linspace(0, clips.shape[2] - 1, (JUDGED_FRAMES - 1) * STRIDE + 1).round().long()[::STRIDE]
    frames = rearrange(clips[:, :, pick], "n c t h w -> (n t) c h w")
    frames = F.interpolate(frames, size=(JUDGED_SIZE, JUDGED_SIZE), mode="area")
    answers = judge(rearrange(frames, "(n t) c h w -> n c t h w", t=JUDGED_FRAMES))
    return [
        {name: ATTRIBUTES[name][int(logits[i].argmax())] for name, logits in answers.items()} for i in range(len(clips))
    ]


def judge_accuracy(judge: Judge, clips: int, seed: int) -> dict[str, float]:
    """Share of rendered clips judged right, per attribute. A clip of melting gold has no colour to be judged."""
    right: dict[str, list[bool]] = {name: [] for name in ATTRIBUTES}
    for start in range(0, clips, 32):
        frames, scenes = rendered_clips(32, seed + start)
        for i, answer in enumerate(judged(judge, frames)):
            truth = scenes.names(i)
            for name in right:
                if not (name == "colour" and truth["style"] == "melting gold"):
                    right[name].append(answer[name] == truth[name])
    return {name: sum(answers) / len(answers) for name, answers in right.items()}


def agreement(said: Sequence[dict[str, str]], shown: Sequence[dict[str, str]]) -> dict[str, float]:
    """Share of clips that show what was said, per attribute; only clips whose prompt says the attribute count."""
    shares = {}
    for name in ATTRIBUTES:
        pairs = [(wanted[name], seen[name]) for wanted, seen in zip(said, shown, strict=True) if name in wanted]
        if pairs:
            shares[name] = sum(wanted == seen for wanted, seen in pairs) / len(pairs)
    return shares
