"""The subjects of the world as sprite sheets: painted once from signed shapes, then only recoloured and moved.

A sprite sheet has PHASES drawings (wing beats, gallop, turning wheels) and six channels: three of fixed colour, one of
body (multiplied by the clip's colour), one of highlight and one of coverage, all premultiplied by coverage.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

PHASES = 8
SUPERSAMPLING = 4
OUTLINE = (0.10, 0.09, 0.12)

Colour = tuple[float, float, float]
Point = tuple[float, float]


class Canvas:
    """A square painting area, x to the right and y down, both in [-1, 1]."""

    def __init__(self, size: int) -> None:
        pixels = size * SUPERSAMPLING
        line = (torch.arange(pixels) + 0.5) / pixels * 2 - 1
        self.size = size
        self.y, self.x = torch.meshgrid(line, line, indexing="ij")
        self.fixed = torch.zeros(3, pixels, pixels)
        self.body = torch.zeros(pixels, pixels)
        self.light = torch.zeros(pixels, pixels)
        self.cover = torch.zeros(pixels, pixels)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Tensor:
        x, y = self._turned(cx, cy, angle)
        return (x / rx) ** 2 + (y / ry) ** 2 <= 1

    def box(self, cx: float, cy: float, rx: float, ry: float, corner: float = 0.0, angle: float = 0.0) -> Tensor:
        x, y = self._turned(cx, cy, angle)
        dx, dy = (x.abs() - rx + corner).clamp(min=0), (y.abs() - ry + corner).clamp(min=0)
        return dx**2 + dy**2 <= max(corner, 1e-6) ** 2

    def line(self, start: Point, end: Point, width: float) -> Tensor:
        (ax, ay), (bx, by) = start, end
        dx, dy = bx - ax, by - ay
        along = (((self.x - ax) * dx + (self.y - ay) * dy) / (dx * dx + dy * dy)).clamp(0, 1)
        return (self.x - ax - along * dx) ** 2 + (self.y - ay - along * dy) ** 2 <= width**2

    def polygon(self, *points: Point) -> Tensor:
        inside = torch.zeros_like(self.x, dtype=torch.bool)
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            if ay == by:
                continue
            crosses = (self.y < max(ay, by)) & (self.y >= min(ay, by))
            inside ^= crosses & (self.x < ax + (self.y - ay) * (bx - ax) / (by - ay))
        return inside

    def paint(self, mask: Tensor, colour: Colour | None = None, shade: float = 1.0, white: float = 0.0) -> None:
        """Covers `mask` with a fixed colour, or with the body colour times `shade` mixed with `white`."""
        keep = (~mask).float()
        put = mask.float()
        red_green_blue = colour or (white, white, white)
        for channel, value in enumerate(red_green_blue):
            self.fixed[channel] = self.fixed[channel] * keep + value * put
        self.body = self.body * keep + (0.0 if colour else shade * (1 - white)) * put
        self.light = self.light * keep
        self.cover = torch.maximum(self.cover, put)

    def highlight(self, mask: Tensor, amount: float) -> None:
        self.light = torch.where(mask & (self.cover > 0), torch.full_like(self.light, amount), self.light)

    def finished(self) -> Tensor:
        """(6, size, size): fixed red, green, blue; body; highlight; coverage. Adds soft shading and an outline."""
        shading = (1.04 - 0.22 * self.y - 0.08 * self.x).clamp(0.6, 1.25)
        width = 2 * round(0.045 * self.cover.shape[0] / 2) + 1
        across = F.max_pool2d(self.cover[None, None], (1, width), 1, (0, width // 2))
        spread = F.max_pool2d(across, (width, 1), 1, (width // 2, 0))[0, 0]
        rim = spread * (1 - self.cover)
        outline = torch.tensor(OUTLINE)[:, None, None]
        channels = torch.cat(
            [
                self.fixed * shading.clamp(max=1.0) + outline * rim,
                torch.stack([self.body * shading, self.light, spread]),
            ]
        )
        return F.avg_pool2d(channels[None], SUPERSAMPLING)[0]

    def _turned(self, cx: float, cy: float, angle: float) -> tuple[Tensor, Tensor]:
        cos, sin = math.cos(angle), math.sin(angle)
        x, y = self.x - cx, self.y - cy
        return x * cos + y * sin, y * cos - x * sin


def draw_ball(c: Canvas, phase: float) -> None:
    disc = c.ellipse(0, 0, 0.8, 0.8)
    c.paint(disc)
    angle = torch.atan2(c.y, c.x)
    c.paint(disc & ((angle - 0.5).abs() < 0.30), white=0.85)
    c.paint(disc & ((angle + 1.6).abs() < 0.22), shade=0.55)
    c.paint(c.ellipse(0, 0, 0.16, 0.16), white=0.85)
    c.highlight(c.ellipse(-0.3, -0.35, 0.22, 0.14, -0.7), 0.55)


def draw_cube(c: Canvas, phase: float) -> None:
    top = ((0.0, -0.85), (0.75, -0.45), (0.0, -0.05), (-0.75, -0.45))
    c.paint(c.polygon((-0.75, -0.45), (0.0, -0.05), (0.0, 0.85), (-0.75, 0.42)), shade=0.88)
    c.paint(c.polygon((0.75, -0.45), (0.0, -0.05), (0.0, 0.85), (0.75, 0.42)), shade=0.55)
    c.paint(c.polygon(*top), shade=1.05, white=0.25)
    for start, end in (((0.0, -0.05), (0.0, 0.85)), ((0.0, -0.05), (-0.75, -0.45)), ((0.0, -0.05), (0.75, -0.45))):
        c.paint(c.line(start, end, 0.025), shade=0.35)


def draw_star(c: Canvas, phase: float) -> None:
    tips = [
        (r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5) + 0.06) for i, r in enumerate([0.92, 0.42] * 5)
    ]
    c.paint(c.polygon(*tips))
    for i in range(0, 10, 2):
        c.paint(c.polygon((0, 0.06), tips[i], tips[(i + 1) % 10]), shade=0.74)
    c.highlight(c.ellipse(-0.08, -0.3, 0.07, 0.2, 0.1), 0.4)


def draw_heart(c: Canvas, phase: float) -> None:
    x, y = c.x / 0.78, -(c.y - 0.06) / 0.78
    heart = (x**2 + y**2 - 0.6) ** 3 - 1.4 * x**2 * y**3 <= 0
    c.paint(heart)
    c.paint(heart & (c.ellipse(0.12, -0.12, 0.9, 0.85) == 0), shade=0.75)
    c.highlight(c.ellipse(-0.38, -0.32, 0.2, 0.12, -0.7), 0.6)


def draw_balloon(c: Canvas, phase: float) -> None:
    sway = 0.1 * math.sin(2 * math.pi * phase)
    c.paint(c.line((0, 0.4), (sway, 0.7), 0.025) | c.line((sway, 0.7), (-sway, 0.95), 0.025), (0.35, 0.3, 0.3))
    c.paint(c.polygon((-0.12, 0.52), (0.12, 0.52), (0, 0.34)), shade=0.7)
    c.paint(c.ellipse(0, -0.22, 0.58, 0.68))
    c.highlight(c.ellipse(-0.22, -0.5, 0.13, 0.2, 0.5), 0.6)


def draw_boat(c: Canvas, phase: float) -> None:
    c.paint(c.line((0.02, -0.9), (0.02, 0.3), 0.04), (0.36, 0.22, 0.12))
    c.paint(c.polygon((0.1, -0.85), (0.1, 0.2), (0.72, 0.2)), shade=0.95, white=0.45)
    c.paint(c.polygon((-0.06, -0.7), (-0.06, 0.2), (-0.6, 0.2)), shade=0.85, white=0.3)
    hull = c.polygon((-0.9, 0.28), (0.95, 0.28), (0.62, 0.82), (-0.62, 0.82))
    c.paint(hull)
    c.paint(hull & (c.y < 0.4), white=0.75)
    c.paint(hull & (c.y > 0.68), shade=0.6)


def draw_fish(c: Canvas, phase: float) -> None:
    beat = 0.26 * math.sin(2 * math.pi * phase)
    c.paint(c.polygon((-0.4, 0), (-0.92, -0.45 + beat), (-0.78, beat), (-0.92, 0.45 + beat)), shade=0.75)
    c.paint(c.polygon((-0.25, -0.3), (0.15, -0.75), (0.3, -0.25)), shade=0.7)
    c.paint(c.polygon((-0.1, 0.3), (0.05, 0.65), (0.2, 0.28)), shade=0.7)
    body = c.ellipse(0.12, 0, 0.68, 0.42)
    c.paint(body)
    c.paint(body & ((c.x + 0.1).abs() < 0.07), white=0.7)
    c.paint(body & ((c.x - 0.2).abs() < 0.05), white=0.7)
    c.paint(c.ellipse(0.52, -0.1, 0.12, 0.12), (1, 1, 1))
    c.paint(c.ellipse(0.55, -0.1, 0.06, 0.06), (0.05, 0.05, 0.08))


def draw_bird(c: Canvas, phase: float) -> None:
    lift = math.sin(2 * math.pi * phase)
    c.paint(c.polygon((-0.45, 0.02), (-0.95, -0.12), (-0.9, 0.22)), shade=0.7)
    c.paint(c.ellipse(-0.05, 0.08, 0.56, 0.32, 0.12))
    c.paint(c.polygon((0.68, -0.2), (0.98, -0.08), (0.68, 0.02)), (0.98, 0.62, 0.1))
    c.paint(c.ellipse(0.5, -0.12, 0.27, 0.27))
    c.paint(c.ellipse(0.58, -0.18, 0.075, 0.075), (1, 1, 1))
    c.paint(c.ellipse(0.6, -0.18, 0.045, 0.045), (0.05, 0.05, 0.08))
    c.paint(c.polygon((0.22, 0.02), (-0.32, 0.06), (-0.38, 0.02 - 0.78 * lift), (-0.12, 0.02 - 0.85 * lift)), shade=0.7)


def draw_rocket(c: Canvas, phase: float) -> None:
    reach = 0.9 + 0.09 * math.sin(2 * math.pi * phase)
    c.paint(c.polygon((-0.24, 0.5), (0.24, 0.5), (0, reach)), (0.99, 0.5, 0.08))
    c.paint(c.polygon((-0.12, 0.5), (0.12, 0.5), (0, reach - 0.14)), (1.0, 0.9, 0.3))
    c.paint(c.polygon((-0.3, 0.1), (-0.66, 0.62), (-0.28, 0.5)), shade=0.65)
    c.paint(c.polygon((0.3, 0.1), (0.66, 0.62), (0.28, 0.5)), shade=0.55)
    hull = c.ellipse(0, -0.1, 0.34, 0.85) & (c.y < 0.52)
    c.paint(hull)
    c.paint(hull & (c.y < -0.58), white=0.75)
    c.paint(c.ellipse(0, -0.18, 0.19, 0.19), (0.92, 0.94, 0.96))
    c.paint(c.ellipse(0, -0.18, 0.13, 0.13), (0.25, 0.45, 0.62))


def draw_car(c: Canvas, phase: float) -> None:
    c.paint(c.polygon((-0.52, -0.1), (-0.34, -0.52), (0.28, -0.52), (0.56, -0.1)), shade=0.92)
    c.paint(c.polygon((-0.40, -0.12), (-0.27, -0.43), (-0.05, -0.43), (-0.05, -0.12)), (0.72, 0.88, 0.95))
    c.paint(c.polygon((0.03, -0.12), (0.03, -0.43), (0.23, -0.43), (0.43, -0.12)), (0.72, 0.88, 0.95))
    c.paint(c.box(0, 0.14, 0.94, 0.27, 0.14))
    c.paint(c.box(0, 0.32, 0.92, 0.08, 0.05), shade=0.6)
    c.paint(c.ellipse(0.85, 0.08, 0.08, 0.08), (1.0, 0.95, 0.6))
    c.paint(c.ellipse(-0.88, 0.08, 0.06, 0.07), (0.85, 0.15, 0.12))
    for wheel in (-0.52, 0.54):
        c.paint(c.ellipse(wheel, 0.42, 0.24, 0.24), (0.08, 0.08, 0.09))
        c.paint(c.ellipse(wheel, 0.42, 0.12, 0.12), (0.78, 0.78, 0.8))
        turn = math.pi * phase
        dx, dy = 0.12 * math.cos(turn), 0.12 * math.sin(turn)
        c.paint(c.line((wheel - dx, 0.42 - dy), (wheel + dx, 0.42 + dy), 0.035), (0.25, 0.25, 0.28))


def draw_knight(c: Canvas, phase: float) -> None:
    """A horse on four legs and its rider, in few and large shapes: a frame of the model has 18 pixels for all of it."""
    brown, far, mane, steel = (0.50, 0.29, 0.13), (0.36, 0.20, 0.09), (0.16, 0.09, 0.05), (0.78, 0.81, 0.86)
    for hip, offset, coat in ((-0.40, 0.5, far), (0.34, 0.0, far), (-0.56, 0.0, brown), (0.18, 0.5, brown)):
        swing = math.sin(2 * math.pi * (phase + offset))
        hoof = (hip + 0.16 * swing, 0.88 - 0.08 * max(0.0, math.cos(2 * math.pi * (phase + offset))))
        c.paint(c.line((hip, 0.30), hoof, 0.085), coat)
    c.paint(c.line((-0.70, 0.14), (-0.90, 0.52 + 0.06 * math.sin(2 * math.pi * phase)), 0.085), mane)
    c.paint(c.ellipse(-0.16, 0.24, 0.62, 0.24), brown)
    c.paint(c.polygon((0.10, 0.20), (0.44, 0.34), (0.82, -0.28), (0.52, -0.44)), brown)
    c.paint(c.ellipse(0.78, -0.26, 0.24, 0.13, 0.7), brown)
    c.paint(c.polygon((0.56, -0.40), (0.60, -0.60), (0.70, -0.38)), brown)
    c.paint(c.line((0.28, 0.0), (0.52, -0.42), 0.06), mane)
    c.paint(c.ellipse(0.76, -0.32, 0.04, 0.04), (0.02, 0.02, 0.02))
    c.paint(c.polygon((-0.52, 0.04), (0.22, 0.04), (0.16, 0.46), (-0.46, 0.46)))
    c.paint(c.box(-0.15, 0.42, 0.32, 0.04), white=0.8)
    c.paint(c.box(-0.16, -0.18, 0.24, 0.30, 0.12), shade=0.9)
    c.paint(c.line((-0.14, 0.08), (0.04, 0.40), 0.09), steel)
    c.paint(c.ellipse(-0.14, -0.62, 0.20, 0.21), steel)
    c.paint(c.box(-0.02, -0.60, 0.10, 0.04), (0.08, 0.08, 0.1))
    c.paint(c.ellipse(-0.26, -0.84, 0.19, 0.11, 0.4))
    c.paint(c.line((-0.30, -0.08), (0.98, -0.66), 0.045), (0.86, 0.72, 0.44))
    c.paint(c.line((-0.08, -0.30), (0.14, -0.20), 0.085), steel)


def draw_butterfly(c: Canvas, phase: float) -> None:
    spread = 0.72 + 0.28 * math.cos(2 * math.pi * phase)
    for side in (-1, 1):
        c.paint(c.ellipse(side * 0.45 * spread, 0.36, 0.36 * spread + 0.04, 0.36, -side * 0.5), shade=0.72)
        c.paint(c.ellipse(side * 0.48 * spread, -0.28, 0.46 * spread + 0.04, 0.44, side * 0.5))
        c.paint(c.ellipse(side * 0.58 * spread, -0.34, 0.15 * spread + 0.02, 0.16), white=0.7)
        c.paint(c.line((0, -0.5), (side * 0.2, -0.88), 0.025), (0.1, 0.08, 0.08))
    c.paint(c.ellipse(0, 0, 0.085, 0.6), (0.14, 0.10, 0.10))


DRAWINGS: dict[str, Callable[[Canvas, float], None]] = {
    "ball": draw_ball,
    "cube": draw_cube,
    "star": draw_star,
    "heart": draw_heart,
    "balloon": draw_balloon,
    "boat": draw_boat,
    "fish": draw_fish,
    "bird": draw_bird,
    "rocket": draw_rocket,
    "car": draw_car,
    "knight": draw_knight,
    "butterfly": draw_butterfly,
}


@lru_cache(maxsize=8)
def sprite_sheets(subjects: tuple[str, ...], size: int, device: str = "cpu") -> Tensor:
    """(subjects, 2, PHASES, 6, size, size): sharp sheets and low-passed ones for drawing at less than half size."""
    sharp = torch.stack([torch.stack([_drawing(name, phase, size) for phase in range(PHASES)]) for name in subjects])
    flat = sharp.flatten(0, 1)
    soft = F.interpolate(F.avg_pool2d(flat, 2), size=(size, size), mode="bilinear")
    return torch.stack([sharp, soft.unflatten(0, sharp.shape[:2])], dim=1).to(device)


def _drawing(name: str, phase: int, size: int) -> Tensor:
    canvas = Canvas(size)
    DRAWINGS[name](canvas, phase / PHASES)
    return canvas.finished()
