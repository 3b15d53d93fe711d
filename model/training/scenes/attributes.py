"""What a clip of the procedural world can show, and how clips are drawn at random.

A clip is a few discrete attributes plus a row of uniform numbers from which every continuous choice (position, speed,
place of the sun, …) follows, so a batch of scenes is small, reproducible from a seed and the same on CPU and GPU.
"""

from collections.abc import Mapping
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
SETTINGS = (
    "meadow",
    "beach",
    "night sky",
    "desert",
    "snowfall",
    "mountain road",
    "countryside",
    "underwater",
    "forest",
    "lake",
    "volcano",
    "city",
)
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
RELATIONS = ("alone", "left of", "above")
"""Where the subject is to another one; the other subject of a clip is to its right, or below it."""
CAMERAS = ("fixed", "pan left", "pan right", "zoom in", "zoom out")
STYLES = ("plain", "watercolor", "sticker", "melting gold", "wooden blocks", "origami", "line drawing")
FACING_SUBJECTS = ("boat", "fish", "bird", "car", "knight")
"""Subjects drawn from the side: they look where they go."""
WALKING_SUBJECTS = ("car", "knight")
"""Subjects that stand on the ground, where there is one."""

IN_PLACE_MOTIONS = ("still", "spinning", "bouncing")
"""What two subjects do, and what a subject does before a moving camera: a path across the frame would run out of it."""

NONE = "none"
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "colour": tuple(COLOURS),
    "setting": SETTINGS,
    "motion": MOTIONS,
    "style": STYLES,
    "relation": RELATIONS,
    "other_subject": (NONE, *SUBJECTS),
    "other_colour": (NONE, *COLOURS),
    "camera": CAMERAS,
}
CORE = ("subject", "colour", "setting", "motion", "style")
"""What every clip has, and every prompt of the evaluation names."""
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
    relation: Tensor
    other_subject: Tensor
    other_colour: Tensor
    camera: Tensor
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


def is_held_out(fields: Mapping[str, Tensor]) -> Tensor:
    """True where a combination is kept away from training: a tenth of all, of single subjects and of pairs. Every pair
    of values of two attributes is still seen.
    """
    subject, colour = fields["subject"], fields["colour"]
    alone = (subject * 7 + colour * 3 + fields["setting"] * 9 + fields["motion"]) % 10 == 0
    paired = (subject * 7 + colour * 3 + fields["other_subject"] * 9 + fields["other_colour"]) % 10 == 0
    return torch.where(fields["relation"] == 0, alone, paired)


def sample_scenes(
    n: int,
    generator: Generator,
    split: Split = "train",
    plain_share: float = 0.8,
    pair_share: float = 0.0,
    camera_share: float = 0.0,
    turning_share: float = 0.0,
) -> Scenes:
    """Draws n scenes on the CPU; combinations outside `split` are drawn again.

    `plain_share` of the scenes have the plain style, the rest one of the others; `pair_share` show two subjects; before
    `camera_share` the camera moves. Pairs move in place, all ways alike, but for a `turning_share` that spins besides.
    """
    fields = _drawn(n, generator, plain_share, pair_share, camera_share)
    while split != "any":
        wrong = is_held_out(fields) != (split == "held-out")
        if not wrong.any():
            break
        again = _drawn(n, generator, plain_share, pair_share, camera_share)
        fields = {name: torch.where(wrong, again[name], fields[name]) for name in fields}
    if turning_share > 0:
        turning = (fields["relation"] > 0) & (torch.rand(n, generator=generator) < turning_share)
        fields["motion"] = torch.where(turning, MOTIONS.index("spinning"), fields["motion"])
    return Scenes(**fields, jitter=torch.rand(n, JITTERS, generator=generator))


def _drawn(
    n: int, generator: Generator, plain_share: float, pair_share: float, camera_share: float
) -> dict[str, Tensor]:
    def below(limit: int) -> Tensor:
        return torch.randint(limit, (n,), generator=generator)

    def happens(share: float) -> Tensor:
        return torch.rand(n, generator=generator) < share

    subject, colour = below(len(SUBJECTS)), below(len(COLOURS))
    setting, motion = below(len(SETTINGS)), below(len(MOTIONS))
    style = torch.where(happens(plain_share), 0, 1 + below(len(STYLES) - 1))
    relation = torch.where(happens(pair_share), 1 + below(len(RELATIONS) - 1), 0)
    camera = torch.where(happens(camera_share), 1 + below(len(CAMERAS) - 1), 0)
    paired = relation > 0
    other_subject = (subject + 1 + below(len(SUBJECTS) - 1)) % len(SUBJECTS)
    other_colour = (colour + 1 + below(len(COLOURS) - 1)) % len(COLOURS)
    in_place = torch.tensor([MOTIONS.index(name) for name in IN_PLACE_MOTIONS])[below(len(IN_PLACE_MOTIONS))]
    return {
        "subject": subject,
        "colour": colour,
        "setting": setting,
        "motion": torch.where(paired | (camera > 0), in_place, motion),
        "style": style,
        "relation": relation,
        "other_subject": torch.where(paired, 1 + other_subject, 0),
        "other_colour": torch.where(paired, 1 + other_colour, 0),
        "camera": camera,
    }


def scenes_from_names(attributes: list[dict[str, str]], generator: Generator) -> Scenes:
    """Scenes with the named attributes (missing ones drawn at random, but alone and before a fixed camera). Raises
    ValueError for a name outside the world.
    """
    drawn = sample_scenes(len(attributes), generator, split="any", plain_share=1.0)
    for i, named in enumerate(attributes):
        for name, value in named.items():
            if value not in ATTRIBUTES.get(name, ()):
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(ATTRIBUTES.get(name, ()))}")
            getattr(drawn, name)[i] = ATTRIBUTES[name].index(value)
    return drawn
