"""The settings of the world: one function each, from jitter (n, J) and times (n, t) in seconds to (n, t, 3, h, w) in
[0, 1].

What stands still is painted once per clip; what moves (clouds, waves, flakes, lights) is a layer over it, drawn where
it moves alone, so that a frame costs little more than a copy.
"""

from collections.abc import Callable

from torch import Tensor

from model.training.scenes.landscapes import countryside, desert, forest, meadow, mountain_road, snowfall
from model.training.scenes.lights import city, night_sky, volcano
from model.training.scenes.waters import beach, lake, underwater

GROUND = {
    "meadow": 0.80,
    "beach": 0.84,
    "night sky": 0.0,
    "desert": 0.80,
    "snowfall": 0.84,
    "mountain road": 0.83,
    "countryside": 0.82,
    "underwater": 0.0,
    "forest": 0.84,
    "lake": 0.87,
    "volcano": 0.85,
    "city": 0.84,
}
"""Height (0 top, 1 bottom) of the ground on which a subject casts its shadow; 0 where nothing is near enough."""

PAINTERS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "meadow": meadow,
    "beach": beach,
    "night sky": night_sky,
    "desert": desert,
    "snowfall": snowfall,
    "mountain road": mountain_road,
    "countryside": countryside,
    "underwater": underwater,
    "forest": forest,
    "lake": lake,
    "volcano": volcano,
    "city": city,
}
