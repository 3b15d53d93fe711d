"""Tools to paint backgrounds with: still layers once per clip, moving ones as coverage per frame.

Legend: n clips, t frames, h = w = size pixels; y and x go from 0 (top, left) to 1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Colour = tuple[float, float, float]
CLOUD = (
    (-0.09, 0.010, 0.070),
    (0.0, -0.012, 0.082),
    (0.09, 0.012, 0.065),
    (-0.125, 0.022, 0.042),
    (-0.055, -0.024, 0.048),
    (0.055, -0.018, 0.055),
    (0.125, 0.022, 0.040),
    (0.01, -0.042, 0.040),
)
"""Place and radius of the puffs of one cloud, in widths of the frame."""


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
        self.image = mix(self.tint(top), self.tint(bottom), level).expand_as(self.image)

    def paint(self, cover: Tensor, colour: Colour | Tensor) -> None:
        """Mixes `colour` in where `cover` (n, h, w) is one."""
        paint = self.tint(colour) if isinstance(colour, tuple) else colour
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
        octave = torch.arange(octaves, device=self.image.device)
        phase = self.jitter[:, (column + octave) % self.jitter.shape[1], None] * 2 * math.pi
        scale = (frequency * 2 * math.pi * 1.9**octave)[:, None]
        line = torch.sin(self.x * scale + phase) * (0.5**octave)[:, None]
        return line.sum(1, keepdim=True) / 1.75

    def ramp(self, top: Colour, bottom: Colour, start: float, end: float) -> Tensor:
        """A colour (1, 3, h, 1) that goes from `top` at height `start` to `bottom` at `end`."""
        return mix(self.tint(top), self.tint(bottom), ((self.y - start) / (end - start)).clamp(0, 1)[:, None])

    def glow(self, cx: Tensor | float, cy: Tensor | float, rx: float, ry: float) -> Tensor:
        """Coverage (n, h, w) that fades from the middle, with no edge."""
        return torch.exp(-(((self.x - cx) / rx) ** 2) - ((self.y - cy) / ry) ** 2)

    def lit(self, crest: Tensor, sun: Tensor | float, reach: float) -> Tensor:
        """Light (n, 1, h, w) around 0 on the ground below `crest` (n, 1, w), from its slope to the side of the sun."""
        slope = torch.gradient(crest, dim=-1)[0] * self.size
        return (slope * torch.tanh((sun - self.x) * 6) * torch.exp(-(self.y - crest).clamp(min=0) / reach))[:, None]

    def video(self, t: int) -> Tensor:
        """The still layers as t frames (n, t, 3, h, w) to paint on."""
        return self.image[:, None].repeat(1, t, 1, 1, 1)

    def rows(self, top: float, bottom: float) -> slice:
        """The rows from height `top` to `bottom`: what moves in a part of the frame is drawn there alone."""
        return slice(max(0, math.floor(top * self.size)), min(self.size, math.ceil(bottom * self.size)))

    def tint(self, colour: Colour) -> Tensor:
        return torch.tensor(colour, device=self.image.device)[None, :, None, None]


def mix(a: Tensor, b: Tensor, amount: Tensor) -> Tensor:
    """`a` where `amount` is 0, `b` where it is 1."""
    return torch.lerp(a, b, amount)


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
    clip = torch.arange(n, device=texture.device)[:, None, None]
    if axis == 0:
        return mix(texture[clip, low], texture[clip, (low + 1) % size], part[..., None])
    frames = texture[:, None].expand(n, t, *texture.shape[1:])
    shape = (n, t, *texture.shape[1:])
    near = torch.gather(frames, 3, low[..., None, :].expand(shape))
    far = torch.gather(frames, 3, ((low + 1) % size)[..., None, :].expand(shape))
    return mix(near, far, part[..., None, :])


def clouds(scene: Backdrop, times: Tensor, height: float, speed: float = 0.012) -> tuple[slice, Tensor, Tensor]:
    """A few clouds above `height` that drift to the right: their rows, coverage (n, t, rows, w) and its dim parts."""
    rows = scene.rows(0, 0.85 * height + 0.07)
    y = scene.y[:, rows]
    i = torch.arange(3, device=times.device)
    dx, dy, r = torch.tensor(CLOUD, device=times.device).repeat(3, 1).T[:, None, :, None]
    cx = (scene.jitter[:, 5 + i] + i * 0.37).repeat_interleave(len(CLOUD), 1)[..., None] + dx
    cy = (height * (0.35 + 0.5 * scene.jitter[:, 8 + i])).repeat_interleave(len(CLOUD), 1)[..., None] + dy
    across = (((scene.x - cx + 0.5) % 1 - 0.5) / r) ** 2
    down = ((y[..., 0][:, None] - cy) / (r * 0.62)) ** 2
    cover = ((1 - across[:, :, None] - down[..., None]).amax(1) * 2.5).clamp(0, 1)
    below = F.pad(cover, (0, 0, 0, scene.rows(0, 0.035).stop))[:, -y.shape[1] :]
    both = torch.cat([cover, cover * (1 - below)], dim=1)
    return rows, *scrolled(both, times * speed + scene.jitter[:, 2:3], axis=1).chunk(2, dim=2)


def draw_clouds(
    video: Tensor, scene: Backdrop, times: Tensor, height: float, strength: float, colour: Colour, dim: Colour
) -> None:
    """Paints `clouds` into a video, their undersides in the colour `dim`."""
    rows, cover, under = clouds(scene, times, height)
    glaze(video[..., rows, :], cover * strength, colour)
    glaze(video[..., rows, :], under * (0.4 * strength), dim)


def glaze(video: Tensor, cover: Tensor, colour: Colour | Tensor) -> None:
    """Paints a moving layer into a video (n, t, 3, h, w) or some rows of it: cover (n, t, h, w), or what spreads to it,
    in one colour or many."""
    if isinstance(colour, tuple):
        colour = torch.tensor(colour, device=video.device)[:, None, None]
    video.lerp_(colour.expand_as(video), cover[:, :, None].expand_as(video))


def chance_of(row: Tensor, column: Tensor, seed: Tensor | float = 0.0) -> Tensor:
    """A number in [0, 1) for each pair of whole numbers, the same for equal ones."""
    value = torch.sin(row * 12.9898 + column * 78.233 + seed * 37.719) * 437.585
    return value - value.floor()


def mottle(y: Tensor, x: Tensor, frequency: float, phase: Tensor, octaves: int = 3) -> Tensor:
    """Smooth irregular patches in about [-1, 1] over y and x, finer and weaker by octaves; none too fine for pixels."""
    total = torch.zeros_like(y * x * phase)
    for octave in range(octaves):
        f = frequency * 2.03**octave
        clear = min(1.0, (2.0 - f / x.shape[-1]) / 1.2)
        if clear <= 0:
            break
        turn = phase * 6.2832 + 1.7 * octave
        bent = torch.sin(f * (0.8 * x + 0.6 * y) + 1.3 * torch.sin(f * 0.7 * (y - 0.5 * x) + turn))
        total = total + clear * 0.55**octave * bent * torch.sin(
            f * (0.9 * y - 0.45 * x) + turn + torch.sin(f * 0.8 * x)
        )
    return total


def enlarged(light: Tensor, size: int) -> Tensor:
    """A smooth moving layer (n, t, h, w) drawn coarsely, stretched to size x size."""
    return F.interpolate(light, size=(size, size), mode="bilinear") if light.shape[-1] != size else light


def puffs(scene: Backdrop, rows: slice, cx: Tensor, cy: Tensor, radius: Tensor, strength: Tensor) -> Tensor:
    """Coverage (n, t, rows, w) of soft balls with centre, radius and strength (n, t, k)."""
    y, x = scene.y[0, rows, 0], scene.x[0, 0]
    across = torch.exp(-(((x - cx[..., None]) / radius[..., None]) ** 2))
    down = torch.exp(-(((y - cy[..., None]) / radius[..., None]) ** 2)) * strength[..., None]
    return 1 - torch.exp(-1.6 * torch.einsum("ntky,ntkx->ntyx", down, across))
