"""A small video classifier that says what a clip of the world shows, trained on rendered clips and never on generated
ones.

It looks at JUDGED_FRAMES frames spread over a clip. A convolutional net tells from each frame alone what can be told
from one (subject, colour, setting, style), and the answers of all frames are averaged; convolutions over the frames'
features tell the motion. Features of the same network measure how far sets of clips are apart.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.training.scenes.attributes import ATTRIBUTES

JUDGED_FRAMES = 16
STRIDE = 5
"""JUDGED_FRAMES frames STRIDE apart span a clip of 80."""
JUDGED_SIZE = 64
"""Pixels along each side of what the judge sees."""
TIMED = ("motion", "camera")
"""What no single frame shows."""
FRAME_ATTRIBUTES = tuple(name for name in ATTRIBUTES if name not in TIMED)
WEIGHTS = Path(__file__).parent / "judge.safetensors"


class Convolution(nn.Sequential):
    """A 3x3 convolution with its norm and nonlinearity."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(channels, out, 3, stride, padding=1), nn.GroupNorm(8, out), nn.SiLU())


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(Convolution(channels, channels), Convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Judge(nn.Module):
    """Logits per attribute for clips (n, 3, JUDGED_FRAMES, JUDGED_SIZE, JUDGED_SIZE) in [-1, 1]."""

    def __init__(self, width: int = 32, features: int = 192) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width, 6 * width)
        self.frames = nn.Sequential(
            *(nn.Sequential(Convolution(a, b, stride=2), Residual(b)) for a, b in pairwise(widths)),
            nn.Flatten(),
            nn.Linear(widths[-1] * (JUDGED_SIZE // 16) ** 2, features),
            nn.SiLU(),
        )
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(features if name in FRAME_ATTRIBUTES else 2 * features, len(values))
                for name, values in ATTRIBUTES.items()
            }
        )
        self.time = nn.Sequential(
            nn.Conv1d(features, features, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(features, features, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(features * JUDGED_FRAMES, 2 * features),
            nn.SiLU(),
        )

    def frame_features(self, frames: Tensor) -> Tensor:
        """(n, features) of frames (n, 3, JUDGED_SIZE, JUDGED_SIZE)."""
        return self.frames(frames.contiguous(memory_format=torch.channels_last))

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        frames, sequence = self.features(clips)
        return {
            **self.frame_answers(frames),
            **{name: self.heads[name](sequence) for name in TIMED if name in self.heads},
        }

    def frame_answers(self, frames: Tensor) -> dict[str, Tensor]:
        """Of frames' features (n, t, f), all of whose answers are averaged."""
        return {name: self.heads[name](frames).log_softmax(-1).mean(1) for name in FRAME_ATTRIBUTES}

    def features(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """What each frame shows (n, JUDGED_FRAMES, f), and how they follow on each other (n, 2 f)."""
        flat = self.frame_features(rearrange(clips, "n c t h w -> (n t) c h w"))
        frames = rearrange(flat, "(n t) f -> n t f", n=len(clips))
        return frames, self.time(rearrange(frames, "n t f -> n f t"))


def save_judge(judge: Judge, path: Path) -> None:
    """The weights, in half precision, and the classes that they tell apart."""
    tensors = {name: value.half().contiguous() for name, value in judge.state_dict().items()}
    save_file(tensors, path, {"classes": json.dumps(ATTRIBUTES)})


def load_judge(path: Path = WEIGHTS) -> Judge:
    """Raises ValueError if the world has changed since the judge was trained."""
    tensors, classes = read_judge(path)
    for name, values in ATTRIBUTES.items():
        known = tuple(classes.get(name, ()))
        if known != values:
            raise ValueError(
                f"the judge was trained when {name} was one of {', '.join(known) or 'nothing'}; "
                "train it anew with `lumiere evaluate judge`"
            )
    judge = Judge()
    judge.load_state_dict(tensors)
    return judge.eval()


def read_judge(path: Path) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Tensors and classes of a file that `save_judge` wrote."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["classes"])  # noqa: SIM118


def judged_frames(clips: Tensor) -> Tensor:
    """Clips (n, 3, t, h, w) in [-1, 1] of any size, their t frames spanning five seconds, as the judge sees them."""
    pick = torch.linspace(0, clips.shape[2] - 1, (JUDGED_FRAMES - 1) * STRIDE + 1).round().long()[::STRIDE]
    frames = rearrange(clips[:, :, pick], "n c t h w -> (n t) c h w")
    frames = F.interpolate(frames, (JUDGED_SIZE, JUDGED_SIZE), mode="bicubic", antialias=True).clamp(-1, 1)
    return rearrange(frames, "(n t) c h w -> n c t h w", n=len(clips))


@torch.no_grad()
def judged(judge: Judge, clips: Tensor) -> list[dict[str, str]]:
    """The named attributes of each clip (n, 3, t, h, w) in [-1, 1]."""
    answers = judge(judged_frames(clips))
    return [
        {name: ATTRIBUTES[name][int(logits[i].argmax())] for name, logits in answers.items()} for i in range(len(clips))
    ]


@torch.no_grad()
def clip_features(judge: Judge, clips: Tensor) -> Tensor:
    """(n, 3 f) of clips (n, 3, t, h, w) in [-1, 1]: the mean of what the frames show, and how they follow."""
    frames, motion = judge.features(judged_frames(clips))
    return torch.cat([frames.mean(1), motion], dim=1)


def agreement(said: Sequence[dict[str, str]], shown: Sequence[dict[str, str]]) -> dict[str, float]:
    """Share of clips that show what was said, per attribute; only clips whose prompt says the attribute count."""
    shares = {}
    for name in ATTRIBUTES:
        pairs = [(wanted[name], seen[name]) for wanted, seen in zip(said, shown, strict=True) if name in wanted]
        if pairs:
            shares[name] = sum(wanted == seen for wanted, seen in pairs) / len(pairs)
    return shares
