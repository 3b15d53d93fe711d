"""The settings of the world: one function each, from jitter (n, J) and times (n, t) in seconds to (n, t, 3, h, w) in
[0, 1].

What stands still is painted once per clip; what moves (clouds, waves, flakes, bubbles) is a periodic texture that
scrolls,
so a frame costs a gather rather than a drawing.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Colour = tuple[float, float, float]

GROUND = {
    "meadow": 0.80,
    "beach": 0.84,
    "night sky": 0.0,
    "desert": 0.80,
    "snowfall": 0.84,
    "mountain road": 0.83,
    "countryside": 0.82,
    "underwater": 0.0,
}
"""Height (0 top, 1 bottom) of the ground on which a subject casts its shadow; 0 where nothing is near enough."""


class Backdrop:
    """Still layers (n, 3, h, w) of a batch of backgrounds, painted back to front."""

    def __init__(self, jitter: Tensor, size: int) -> None:
        line = (torch.arange(size, device=jitter.device) + 0.5) / size
        self.size = size
        self.jitter = jitter
        self.y, self.x = line[None, :, None], line[None, None, :]
        self.image = torch.zeros(len(jitter), 3, size, size, device=jitter.device)

    def chance(self, column: int) -> Tensor:
        """One uniform number per clip, shaped (n, 1, 1)."""
        return self.jitter[:, column % self.jitter.shape[1], None, None]

    def gradient(self, top: Colour, bottom: Colour, start: float = 0.0, end: float = 1.0) -> None:
        level = ((self.y - start) / (end - start)).clamp(0, 1)[:, None]
        self.image = mix(self._colour(top), self._colour(bottom), level).expand_as(self.image)

    def paint(self, cover: Tensor, colour: Colour | Tensor) -> None:
        """Mixes `colour` in where `cover` (n, h, w) is one."""
        paint = self._colour(colour) if isinstance(colour, tuple) else colour
        self.image = mix(self.image, paint, cover[:, None])

    def below(self, height: Tensor, softness: float = 1.2) -> Tensor:
        """Coverage of everything lower than `height`, anti-aliased over `softness` pixels."""
        return ((self.y - height) * self.size / softness + 0.5).clamp(0, 1)

    def disc(self, cx: Tensor | float, cy: Tensor | float, rx: Tensor | float, ry: Tensor | float) -> Tensor:
        distance = (((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2).sqrt()
        edge = self.size * (rx if isinstance(rx, float) else rx.mean())
        return ((1 - distance) * edge + 0.5).clamp(0, 1)

    def waves(self, column: int, frequency: float, octaves: int = 3) -> Tensor:
        """A smooth random line over x in about [-1, 1], (n, 1, w)."""
        line = torch.zeros_like(self.x)
        for octave in range(octaves):
            phase = self.chance(column + octave) * 2 * math.pi
            line = line + torch.sin(self.x * frequency * 2 * math.pi * 1.9**octave + phase) * 0.5**octave
        return line / 1.75

    def video(self, t: int) -> Tensor:
        return self.image[:, None].expand(-1, t, -1, -1, -1)

    def _colour(self, colour: Colour) -> Tensor:
        return torch.tensor(colour, device=self.image.device)[None, :, None, None]


def mix(a: Tensor, b: Tensor, amount: Tensor) -> Tensor:
    return a + (b - a) * amount


def grain(jitter: Tensor, size: int, strength: float) -> Tensor:
    """A texture (1, 1, size, size) around 0, the same in every clip, so that a small model can learn it."""
    line = torch.arange(size, device=jitter.device, dtype=torch.float32)
    value = torch.sin(line[:, None] * 12.9898 + line[None] * 78.233) * 437.585
    return ((value - value.floor()) - 0.5)[None, None] * strength


def dots(jitter: Tensor, count: int, size: int, radius: float) -> tuple[Tensor, Tensor]:
    """`count` soft dots on a torus: coverage (n, size, size) and, at each pixel, its dot's random phase in [0, 1)."""
    i = torch.arange(count, device=jitter.device, dtype=torch.float32)[None]
    spread = jitter[:, 3:4] * 11.0 + i * 0.6180339887
    cx, cy, phase = (spread * 1.0) % 1, (spread * 7.13 + jitter[:, 4:5] * 5) % 1, (spread * 3.7 + i * 0.37) % 1
    line = (torch.arange(size, device=jitter.device) + 0.5) / size
    dx = (line[None, None] - cx[..., None] + 0.5) % 1 - 0.5
    dy = (line[None, None] - cy[..., None] + 0.5) % 1 - 0.5
    r = radius * (0.6 + 0.8 * phase)[..., None]
    cover = torch.exp(-((dy / r) ** 2))[..., :, None] * torch.exp(-((dx / r) ** 2))[..., None, :]
    best, which = cover.max(dim=1)
    return best, torch.gather(phase, 1, which.flatten(1)).view_as(best)


def scrolled(texture: Tensor, shift: Tensor, axis: int) -> Tensor:
    """A periodic texture (n, h, w) moved by `shift` (n, t), in widths, along y (axis 0) or x (axis 1): (n, t, h, w)."""
    size = texture.shape[1 + axis]
    pixels = (torch.arange(size, device=texture.device)[None, None] - shift[..., None] * size) % size
    low = pixels.floor()
    part = pixels - low
    low = low.long() % size
    n, t = shift.shape
    frames = texture[:, None].expand(n, t, *texture.shape[1:])
    index = low[..., :, None] if axis == 0 else low[..., None, :]
    weight = part[..., :, None] if axis == 0 else part[..., None, :]
    shape = (n, t, *texture.shape[1:])
    near = torch.gather(frames, 2 + axis, index.expand(shape))
    far = torch.gather(frames, 2 + axis, ((index + 1) % size).expand(shape))
    return mix(near, far, weight)


def clouds(scene: Backdrop, times: Tensor, height: float, speed: float = 0.012) -> Tensor:
    """Coverage (n, t, h, w) of a few clouds that drift to the right."""
    cover = torch.zeros(len(times), scene.size, scene.size, device=times.device)
    for i in range(3):
        cx = (scene.chance(5 + i) + i * 0.37) % 1
        cy = height * (0.35 + 0.5 * scene.chance(8 + i))
        for dx, dy, r in ((-0.09, 0.01, 0.07), (0.0, -0.015, 0.09), (0.09, 0.012, 0.065)):
            x = (scene.x - cx - dx + 0.5) % 1 - 0.5
            puff = 1 - (x / r) ** 2 - ((scene.y - cy - dy) / (r * 0.55)) ** 2
            cover = torch.maximum(cover, (puff * 3).clamp(0, 1))
    return scrolled(cover, times * speed + scene.jitter[:, 2:3], axis=1)


def over(video: Tensor, cover: Tensor, colour: Colour) -> Tensor:
    """Paints a moving layer: video (n, t, 3, h, w), cover (n, t, h, w)."""
    return mix(video, torch.tensor(colour, device=video.device)[None, None, :, None, None], cover[:, :, None])


def meadow(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.42, 0.70, 0.96), (0.80, 0.92, 1.0), 0.0, 0.55)
    scene.paint(scene.below(0.50 + 0.05 * scene.waves(0, 0.8)), (0.46, 0.72, 0.42))
    near = scene.below(0.58 + 0.04 * scene.waves(3, 0.6))
    slope = ((scene.y - 0.55) / 0.45).clamp(0, 1)[:, None]
    grass = mix(scene._colour((0.48, 0.80, 0.34)), scene._colour((0.24, 0.56, 0.18)), slope)
    scene.paint(near, (grass + grain(jitter, size, 0.12)).clamp(0, 1))
    flowers, phase = dots(jitter, 26, size, 0.012)
    scene.paint(flowers * (scene.y > 0.62) * (phase > 0.5), (0.99, 0.95, 0.55))
    scene.paint(flowers * (scene.y > 0.62) * (phase <= 0.5), (0.98, 0.98, 0.98))
    return over(scene.video(times.shape[1]), clouds(scene, times, 0.4) * 0.9, (1.0, 1.0, 1.0))


def beach(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.45, 0.78, 0.95), (0.93, 0.96, 0.93), 0.0, 0.40)
    scene.paint(scene.disc(0.15 + 0.7 * scene.chance(1), 0.14, 0.07, 0.07), (1.0, 0.97, 0.75))
    sand = mix(
        scene._colour((0.97, 0.88, 0.65)),
        scene._colour((0.90, 0.77, 0.50)),
        ((scene.y - 0.6) / 0.4).clamp(0, 1)[:, None],
    )
    scene.paint(scene.below(torch.full_like(scene.chance(0), 0.40)), (0.10, 0.52, 0.68))
    y, x = scene.y[:, None], scene.x[:, None]
    time = times[:, :, None, None]
    swell = torch.sin(
        2 * math.pi * (19.8 * (y - 0.40).clamp(min=0) ** 0.8 + 0.35 * time)
        + 3 * torch.sin(x * 7 + scene.chance(2)[:, None] * 6)
    )
    video = scene.video(times.shape[1])
    sea = ((y > 0.40) & (y < 0.70)).float()
    video = over(video, sea * (y - 0.40) * 2.0, (0.22, 0.76, 0.80))
    video = over(video, sea * ((swell - 0.72) * 4).clamp(0, 1) * 0.85, (0.95, 0.99, 1.0))
    shore = (
        0.66
        + 0.022 * torch.sin(2 * math.pi * (0.22 * time + scene.chance(3)[:, None]))
        + 0.012 * scene.waves(4, 1.2)[:, None]
    )
    beached = ((y - shore) * size / 1.2 + 0.5).clamp(0, 1)
    video = mix(video, (sand + grain(jitter, size, 0.05)).clamp(0, 1)[:, None], beached[:, :, None])
    foam = torch.exp(-(((y - shore + 0.012) / 0.014) ** 2))
    return over(video, foam * 0.95, (1.0, 1.0, 1.0))


def night_sky(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.03, 0.04, 0.16), (0.15, 0.13, 0.38), 0.0, 0.95)
    moon = (0.2 + 0.6 * scene.chance(1), 0.16)
    crescent = scene.disc(*moon, 0.085, 0.085) * (1 - scene.disc(moon[0] + 0.045, 0.135, 0.075, 0.075))
    stars, phase = dots(jitter, 34, size, 0.011)
    scene.paint(crescent, (0.99, 0.96, 0.80))
    twinkle = 0.55 + 0.45 * torch.sin(2 * math.pi * (times[:, :, None, None] * 0.8 + phase[:, None] * 3))
    video = over(scene.video(times.shape[1]), stars[:, None] * twinkle * (scene.y < 0.86)[:, None], (1.0, 0.99, 0.88))
    hills = scene.below(0.89 + 0.035 * scene.waves(6, 0.7))
    return over(video, hills[:, None].expand(-1, times.shape[1], -1, -1), (0.03, 0.05, 0.09))


def desert(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.98, 0.66, 0.38), (1.0, 0.90, 0.68), 0.0, 0.55)
    scene.paint(scene.disc(0.2 + 0.6 * scene.chance(1), 0.22, 0.09, 0.09), (1.0, 0.96, 0.72))
    for i, (height, colour) in enumerate(
        ((0.52, (0.86, 0.58, 0.34)), (0.60, (0.91, 0.68, 0.42)), (0.72, (0.95, 0.78, 0.52)))
    ):
        crest = height + 0.05 * scene.waves(2 + 3 * i, 0.6 + 0.2 * i, octaves=2)
        ripple = 0.03 * torch.sin((scene.y - crest) * size * 0.9 + 4 * torch.sin(scene.x * 6))[:, None]
        scene.paint(scene.below(crest), (scene._colour(colour) + ripple * (i == 2)).clamp(0, 1).expand_as(scene.image))
    cx = 0.08 + 0.12 * scene.chance(9) + 0.7 * (scene.chance(10) > 0.5)
    cactus = (
        scene.disc(cx, 0.58, 0.022, 0.13)
        + scene.disc(cx - 0.04, 0.55, 0.014, 0.06)
        + scene.disc(cx + 0.04, 0.52, 0.014, 0.06)
    )
    scene.paint(cactus.clamp(0, 1), (0.22, 0.44, 0.24))
    haze = (
        0.02
        * torch.sin(2 * math.pi * (scene.y[:, None] * 14 + times[:, :, None, None] * 0.7))
        * (scene.y < 0.55)[:, None]
    )
    return (scene.video(times.shape[1]) + haze[:, :, None]).clamp(0, 1)


def snowfall(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.50, 0.58, 0.70), (0.76, 0.82, 0.89), 0.0, 0.65)
    for i in range(5):
        cx = (scene.chance(4 + i) * 0.2 + i * 0.22) % 1.05
        for level in range(3):
            top, half = 0.44 + 0.075 * level, 0.035 + 0.018 * level
            inside = ((scene.y - top) * half / 0.11 - (scene.x - cx).abs()) * size
            scene.paint((inside + 0.5).clamp(0, 1) * (scene.y < top + 0.11), (0.24, 0.38, 0.38))
    ground = mix(
        scene._colour((0.93, 0.96, 1.0)),
        scene._colour((0.78, 0.85, 0.95)),
        ((scene.y - 0.65) / 0.35).clamp(0, 1)[:, None],
    )
    scene.paint(scene.below(0.66 + 0.03 * scene.waves(1, 0.7)), ground)
    video = scene.video(times.shape[1])
    for layer, (count, radius, speed) in enumerate(((30, 0.011, 0.16), (18, 0.017, 0.26))):
        flakes, _ = dots(jitter.roll(layer + 1, dims=1), count, size, radius)
        fallen = scrolled(flakes, times * speed, axis=0)
        video = over(video, fallen, (1.0, 1.0, 1.0))
    return video


def mountain_road(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.50, 0.74, 0.95), (0.88, 0.94, 0.98), 0.0, 0.55)
    for i, (base, colour) in enumerate(((0.0, (0.50, 0.56, 0.70)), (0.22, (0.42, 0.47, 0.60)))):
        for peak in range(2):
            cx = 0.15 + 0.55 * peak + base + 0.2 * (scene.chance(2 + 2 * i + peak) - 0.5)
            top = 0.12 + 0.12 * scene.chance(6 + 2 * i + peak) + 0.08 * i
            rough = 0.015 * torch.sin(scene.y * 60 + peak * 2) + 0.01 * torch.sin(scene.y * 131)
            half = (scene.y - top) * 0.62 + rough
            inside = ((half - (scene.x - cx).abs()) * size + 0.5).clamp(0, 1)
            shade = 1 - 0.16 * (scene.x > cx).float()
            scene.paint(inside, scene._colour(colour) * shade[:, None])
            snow = inside * ((top + 0.10 + 0.02 * torch.sin(scene.x * 70) - scene.y) * size + 0.5).clamp(0, 1)
            scene.paint(snow, scene._colour((0.97, 0.98, 1.0)) * (0.5 + 0.5 * shade[:, None]))
    scene.paint(scene.below(0.60 + 0.015 * scene.waves(9, 1.0)), (0.40, 0.52, 0.30))
    scene.paint(scene.below(torch.full_like(scene.chance(0), 0.70)), (0.36, 0.36, 0.39))
    scene.paint(scene.below(torch.full_like(scene.chance(0), 0.94)), (0.46, 0.42, 0.34))
    edge = ((scene.y - 0.715).abs() < 0.008) | ((scene.y - 0.925).abs() < 0.008)
    scene.paint(edge.float().expand(len(jitter), size, size), (0.92, 0.92, 0.90))
    dash = ((scene.y - 0.82).abs() < 0.011) & (((scene.x + scene.chance(11)) * 5) % 1 < 0.55)
    scene.paint(dash.float(), (0.97, 0.86, 0.35))
    return over(scene.video(times.shape[1]), clouds(scene, times, 0.25) * 0.85, (1.0, 1.0, 1.0))


def countryside(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.56, 0.76, 0.93), (0.96, 0.93, 0.80), 0.0, 0.50)
    fields = ((0.44, (0.62, 0.70, 0.36)), (0.52, (0.86, 0.76, 0.36)), (0.60, (0.55, 0.62, 0.28)))
    for i, (height, colour) in enumerate(fields):
        crest = height + 0.035 * scene.waves(2 + i, 0.6, octaves=2)
        furrow = (
            0.07
            * torch.sin((scene.x * (18 - 5 * i) + (scene.y - crest) * 9 * (1 - 2 * (i % 2))) * 2 * math.pi)[:, None]
        )
        scene.paint(scene.below(crest), (scene._colour(colour) + furrow).clamp(0, 1))
    hx = 0.12 + 0.2 * scene.chance(6) + 0.5 * (scene.chance(7) > 0.5)
    wall = ((0.065 - (scene.x - hx).abs()) * size + 0.5).clamp(0, 1) * (scene.y > 0.43) * (scene.y < 0.53)
    scene.paint(wall, (0.96, 0.93, 0.86))
    roof = (((scene.y - 0.35) * 0.95 - (scene.x - hx).abs()) * size + 0.5).clamp(0, 1) * (scene.y < 0.44)
    scene.paint(roof, (0.66, 0.28, 0.20))
    scene.paint(scene.disc(hx, 0.50, 0.016, 0.035), (0.40, 0.26, 0.16))
    for i in range(3):
        cx = (hx + 0.22 + 0.2 * i + 0.1 * scene.chance(8 + i)) % 1.1
        scene.paint(scene.disc(cx, 0.53, 0.012, 0.05), (0.36, 0.25, 0.15))
        scene.paint(scene.disc(cx, 0.45, 0.055, 0.065), (0.22, 0.42, 0.18))
    path = mix(
        scene._colour((0.83, 0.70, 0.50)),
        scene._colour((0.70, 0.56, 0.38)),
        ((scene.y - 0.72) / 0.28).clamp(0, 1)[:, None],
    )
    scene.paint(scene.below(0.71 + 0.012 * scene.waves(12, 0.8)), (path + grain(jitter, size, 0.06)).clamp(0, 1))
    scene.paint(scene.below(0.94 + 0.01 * scene.waves(13, 1.5)), (0.45, 0.54, 0.24))
    return over(scene.video(times.shape[1]), clouds(scene, times, 0.3) * 0.8, (1.0, 0.99, 0.95))


def underwater(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.16, 0.62, 0.74), (0.02, 0.22, 0.42), 0.0, 0.95)
    bed = mix(
        scene._colour((0.52, 0.60, 0.48)),
        scene._colour((0.34, 0.42, 0.38)),
        ((scene.y - 0.86) / 0.14).clamp(0, 1)[:, None],
    )
    scene.paint(scene.below(0.87 + 0.025 * scene.waves(1, 0.9)), bed)
    y, x, time = scene.y[:, None], scene.x[:, None], times[:, :, None, None]
    slant = x + 0.35 * y + scene.chance(2)[:, None]
    rays = (torch.sin(slant * 19 + 0.5 * time) * torch.sin(slant * 31 - 0.37 * time)).clamp(min=0)
    video = over(scene.video(times.shape[1]), rays * (0.75 - y).clamp(0, 1) * 0.45, (0.75, 0.97, 0.95))
    for i in range(4):
        root = (scene.chance(3 + i)[:, None] * 0.2 + 0.26 * i) % 1
        height = 0.16 + 0.10 * scene.chance(7 + i)[:, None]
        up = ((0.93 - y) / height).clamp(0, 1)
        stem = x - root - 0.035 * up * torch.sin(2 * math.pi * (0.25 * time + i * 0.3 + up * 0.8))
        blade = ((0.016 * (1.1 - up) - stem.abs()) * size + 0.5).clamp(0, 1) * (y > 0.93 - height)
        video = over(video, blade, (0.10, 0.45, 0.26))
    bubbles, _ = dots(jitter.roll(1, dims=1), 12, size, 0.014)
    return over(video, scrolled(bubbles, -times * 0.14, axis=0) * (y < 0.9) * 0.75, (0.80, 0.96, 1.0))


PAINTERS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "meadow": meadow,
    "beach": beach,
    "night sky": night_sky,
    "desert": desert,
    "snowfall": snowfall,
    "mountain road": mountain_road,
    "countryside": countryside,
    "underwater": underwater,
}
