"""Pictures to learn a style from that are not of the world: one motif, drawn in ways that no training saw."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = 512
SHOWS = "a house in the countryside"
PAPER, GRAPHITE = np.array([250, 248, 244]), np.array([70, 70, 78])
YELLOW, MAGENTA = np.array([255, 240, 60]), np.array([225, 20, 120])


def motif() -> NDArray[np.float64]:
    """(h, w): how dark each place is, 0 to 1."""
    picture = Image.new("L", (SIZE, SIZE), 70)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 330, SIZE, SIZE), fill=115)
    draw.rectangle((150, 200, 360, 400), fill=40)
    draw.polygon([(130, 200), (255, 100), (380, 200)], fill=170)
    draw.rectangle((230, 300, 285, 400), fill=200)
    draw.ellipse((400, 40, 470, 110), fill=0)
    return np.asarray(picture) / 255


def hatched() -> NDArray[np.uint8]:
    """Strokes of a pencil, crossing where it is darker: uint8 (h, w, 3)."""
    y, x = np.mgrid[:SIZE, :SIZE]
    wobble = 1.5 * np.sin(x / 37 + y / 53) + np.sin(x / 11 - y / 17)
    strokes = np.zeros((SIZE, SIZE), bool)
    for darker_than, angle in ((0.1, 0.8), (0.35, 2.3), (0.6, 0.0)):
        across = (x * np.sin(angle) + y * np.cos(angle) + wobble) % 8
        strokes |= (motif() > darker_than) & (across < 2.2)
    return np.where(strokes[..., None], GRAPHITE, PAPER).astype(np.uint8)


def dotted() -> NDArray[np.uint8]:
    """Dots of a coarse print, larger where it is darker: uint8 (h, w, 3)."""
    y, x = np.mgrid[:SIZE, :SIZE]
    row = y // 20
    from_centre = np.hypot((x + 10 * (row % 2)) % 20 - 10, y % 20 - 10)
    return np.where((from_centre < 2 + 10 * motif())[..., None], MAGENTA, YELLOW).astype(np.uint8)


PICTURES: dict[str, Callable[[], NDArray[np.uint8]]] = {"pencil": hatched, "dots": dotted}
