"""Where a subject is, how large and how turned, at every moment: each motion as a closed form of time.

Positions are fractions of the frame (x right, y down), size is the half-width of the sprite, angles are clockwise
radians.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.training.scenes.attributes import (
    FACING_SUBJECTS,
    MOTIONS,
    RELATIONS,
    SETTINGS,
    SUBJECTS,
    WALKING_SUBJECTS,
    Scenes,
)
from model.training.scenes.backgrounds import GROUND

CLIP_SECONDS = 5.0


@dataclass(frozen=True)
class Pose:
    """Each (n, t): centre, half-width, angle, +1 or -1 for facing right or left."""

    x: Tensor
    y: Tensor
    size: Tensor
    angle: Tensor
    facing: Tensor


POSE_FIELDS = tuple(Pose.__dataclass_fields__)


def poses(scenes: Scenes, times: Tensor) -> Pose:
    """The pose of each clip's subject at `times` (n, t) in seconds, alone or beside another."""
    alone, paired = lone_poses(scenes, times), paired_poses(scenes, times, other=False)
    has_other = (scenes.relation > 0)[:, None]
    return Pose(*(torch.where(has_other, getattr(paired, name), getattr(alone, name)) for name in POSE_FIELDS))


def filmed_size(scenes: Scenes) -> Tensor:
    """(n, 1): what subjects are smaller by that a moving camera shows, as it comes closer."""
    return torch.where(scenes.camera > 0, 0.85, 1.0)[:, None]


def paired_poses(scenes: Scenes, times: Tensor, other: bool) -> Pose:
    """Of the subject on the left or above, or of the other one: smaller, both doing the same in their places."""
    uniform = scenes.jitter[:, :, None]
    doing = {name: (scenes.motion == MOTIONS.index(name))[:, None] for name in ("bouncing", "spinning")}
    side = 1.0 if other else -1.0
    above = (scenes.relation == RELATIONS.index("above"))[:, None]
    size = (0.21 + 0.025 * uniform[:, 12]) * filmed_size(scenes) + 0 * times
    middle_x, middle_y = 0.5 + 0.10 * (uniform[:, 13] - 0.5), 0.50 + 0.06 * (uniform[:, 14] - 0.5)
    x = torch.where(above, middle_x, middle_x + 0.24 * side) + 0 * times
    y = torch.where(above, middle_y + 0.23 * side, middle_y + 0.06) + 0 * times

    ground = torch.tensor([GROUND[name] for name in SETTINGS], device=times.device)[scenes.setting][:, None]
    kinds = scenes.other_subject - 1 if other else scenes.subject
    walks = torch.tensor([name in WALKING_SUBJECTS for name in SUBJECTS], device=times.device)[kinds][:, None]
    y = torch.where(walks & ~above & (ground > 0), ground - 0.55 * size, y)

    hop = hopped(times, uniform[:, 10])
    y = torch.where(doing["bouncing"], y + 0.06 - 0.16 * hop, y)
    turn = turned(times)
    return Pose(x=x, y=y, size=size, angle=torch.where(doing["spinning"], turn, 0 * times), facing=torch.ones_like(x))


def turned(times: Tensor) -> Tensor:
    """The angle of what spins: upright in the first frame, as it is in a given picture, then clockwise, once in two
    seconds. Nothing in a caption says otherwise, and a moment that says the angle can be learned from single pictures.
    """
    return math.pi * times


def hopped(times: Tensor, slowness: Tensor) -> Tensor:
    """How high what bounces is, from 0 on the ground, where it begins, to 1: a hop takes 1 s to 1.6 s by `slowness`."""
    return torch.sin(math.pi * times / (1.0 + 0.6 * slowness)).abs()


def lone_poses(scenes: Scenes, times: Tensor) -> Pose:
    """The pose of a subject that has the frame to itself."""
    uniform = scenes.jitter[:, :, None]
    moving = {name: (scenes.motion == i)[:, None] for i, name in enumerate(MOTIONS)}
    done = times / CLIP_SECONDS
    clockwise = torch.where(uniform[:, 10] < 0.5, -1.0, 1.0)
    start = uniform[:, 11]

    size = (0.26 + 0.06 * uniform[:, 12]) * filmed_size(scenes)
    x = 0.5 + 0.24 * (uniform[:, 13] - 0.5) + 0 * times
    y = 0.52 + 0.16 * (uniform[:, 14] - 0.5) + 0 * times
    angle, size = 0 * times, size + 0 * times

    ground = torch.tensor([GROUND[name] for name in SETTINGS], device=times.device)[scenes.setting][:, None]
    walks = torch.tensor([name in WALKING_SUBJECTS for name in SUBJECTS], device=times.device)[scenes.subject][:, None]
    y = torch.where(walks & (ground > 0), ground - 0.55 * size, y)

    across = 0.23 + 0.04 * uniform[:, 11] + (0.48 + 0.06 * uniform[:, 10]) * done
    x = torch.where(moving["right"], across, x)
    x = torch.where(moving["left"], 1 - across, x)
    y = torch.where(moving["rising"], 1 - across, y)
    y = torch.where(moving["falling"], across, y)

    y = torch.where(moving["bouncing"], 0.70 - 0.40 * hopped(times, uniform[:, 10]), y)

    angle = torch.where(moving["spinning"], turned(times), angle)

    grown = 0.13 + 0.29 * done
    size = torch.where(moving["growing"], grown, size)
    size = torch.where(moving["shrinking"], 0.55 - grown, size)

    circle = 2 * math.pi * (times / (2.2 + 1.2 * start) * clockwise + uniform[:, 13])
    x = torch.where(moving["orbiting"], 0.5 + 0.22 * torch.cos(circle), x)
    y = torch.where(moving["orbiting"], 0.5 + 0.22 * torch.sin(circle), y)

    sway = 0.75 * torch.sin(2 * math.pi * (times / (1.6 + 0.9 * start) + uniform[:, 13]))
    x = torch.where(moving["swinging"], 0.5 + 0.40 * torch.sin(sway), x)
    y = torch.where(moving["swinging"], 0.18 + 0.40 * torch.cos(sway), y)
    angle = torch.where(moving["swinging"], -sway, angle)

    small = moving["orbiting"] | moving["swinging"] | moving["bouncing"]
    size = torch.where(small, size * 0.88, size)

    sideways = torch.tensor([name in FACING_SUBJECTS for name in SUBJECTS], device=times.device)[scenes.subject][
        :, None
    ]
    facing = torch.where(sideways & moving["left"], -1.0, 1.0) + 0 * times
    rocket = (scenes.subject == SUBJECTS.index("rocket"))[:, None]
    angle = torch.where(rocket & moving["right"], math.pi / 2, angle)
    angle = torch.where(rocket & moving["left"], -math.pi / 2, angle)
    return Pose(x=x, y=y, size=size, angle=angle, facing=facing)
