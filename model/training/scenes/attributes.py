"""What a clip of the procedural world can show, and how clips are drawn at random.

A clip is five discrete attributes plus a row of uniform numbers from which every continuous choice (position, speed,
hue
of the sky, …) follows, so a batch of scenes is small, reproducible from a seed and the same on CPU and GPU.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.10, 0.12),
    "orange": (0.98, 0.52, 0.05),
    "yellow": (0.99, 0.87, 0.10),
    "green": (0.10, 0.66, 0.20),
    "cyan": (0.10, 0.80, 0.85),
    "blue": (0.12, 0.28, 0.90),
    "purple": (0.52, 0.16, 0.76),
    "pink": (0.99, 0.48, 0.72),
    "white": (0.97, 0.97, 0.97),
    "black": (0.10, 0.10, 0.12),
}
SUBJECTS = (
    "ball",
    "cube",
    "star",
    "heart",
    "balloon",
    "boat",
    "fish",
    "bird",
    "rocket",
    "car",
    "knight",
    "butterfly",
)
SETTINGS = ("meadow", "beach", "night sky", "desert", "snowfall", "mountain road", "countryside", "underwater")
MOTIONS = (
    "left",
    "right",
    "rising",
    "falling",
    "bouncing",
    "spinning",
    "growing",
    "shrinking",
    "orbiting",
    "swinging",
    "still",
)
STYLES = ("plain", "watercolor", "sticker", "melting gold", "wooden blocks", "origami", "line drawing")
FACING_SUBJECTS = ("boat", "fish", "bird", "car", "knight")
"""Subjects drawn from the side: they look where they go."""
WALKING_SUBJECTS = ("car", "knight")
"""Subjects that stand on the ground, where there is one."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "colour": tuple(COLOURS),
    "setting": SETTINGS,
    "motion": MOTIONS,
    "style": STYLES,
}
JITTERS = 16
"""Uniform numbers per clip."""

Split = Literal["train", "held-out", "any"]


@dataclass(frozen=True)
class Scenes:
    """A batch of n clips to be rendered: attribute indices of shape (n,) and `jitter` of shape (n, JITTERS) in [0,
    1)."""

    subject: Tensor
    colour: Tensor
    setting: Tensor
    motion: Tensor
    style: Tensor
    jitter: Tensor

    def __len__(self) -> int:
        return self.subject.shape[0]

    def __getitem__(self, index: slice | Tensor) -> "Scenes":
        return Scenes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def to(self, device: torch.device | str) -> "Scenes":
        return Scenes(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def names(self, i: int) -> dict[str, str]:
        """The attributes of clip `i` by name."""
        return {name: values[int(getattr(self, name)[i])] for name, values in ATTRIBUTES.items()}


def is_held_out(subject: Tensor, colour: Tensor, setting: Tensor, motion: Tensor) -> Tensor:
    """True where a combination is kept away from training (a tenth of all; every pair of values is still seen)."""
    return (subject * 7 + colour * 3 + setting * 9 + motion) % 10 == 0


def sample_scenes(n: int, generator: Generator, split: Split = "train", plain_share: float = 0.8) -> Scenes:
    """Draws n scenes on the CPU; combinations outside `split` are drawn again.

    `plain_share` of the scenes have the plain style, the rest one of the others.
    """
    fields: dict[str, Tensor] = {
        name: torch.randint(len(values), (n,), generator=generator) for name, values in ATTRIBUTES.items()
    }
    plain = torch.rand(n, generator=generator) < plain_share
    fields["style"] = torch.where(plain, 0, torch.randint(1, len(STYLES), (n,), generator=generator))
    combination = ("subject", "colour", "setting", "motion")
    while split != "any":
        wrong = is_held_out(*(fields[name] for name in combination)) != (split == "held-out")
        if not wrong.any():
            break
        for name in combination:
            redrawn = torch.randint(len(ATTRIBUTES[name]), (n,), generator=generator)
            fields[name] = torch.where(wrong, redrawn, fields[name])
    return Scenes(**fields, jitter=torch.rand(n, JITTERS, generator=generator))


def scenes_from_names(attributes: list[dict[str, str]], generator: Generator) -> Scenes:
    """Scenes with the named attributes (missing ones drawn at random). Raises ValueError for a name outside the
    world."""
    drawn = sample_scenes(len(attributes), generator, split="any", plain_share=1.0)
    for i, named in enumerate(attributes):
        for name, value in named.items():
            if value not in ATTRIBUTES.get(name, ()):
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(ATTRIBUTES.get(name, ()))}")
            getattr(drawn, name)[i] = ATTRIBUTES[name].index(value)
    return drawn
