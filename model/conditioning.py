"""What is known of a video before it is made: the pixels C and the mask M of Lumiere's <J, C, M> (section 4.2).

Inputs of any size are placed on the frame that is made, masks and boxes with them. M is 1 where a pixel is known. On a
coarser grid a cell is known only if all of its pixels are, so that nothing of what is to be made anew leaks into it.

Letters: t frames, h height, w width. Frames are uint8 RGB (t, h, w, 3) as everywhere outside the network.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Frames = NDArray[np.uint8]
Region = NDArray[np.bool_]
"""(t, h, w) or (1, h, w): True where pixels are to be made anew."""
Resize = Literal["cover", "contain", "stretch"]
"""cover: fill the frame and cut off what sticks out, in equal parts. contain: all of the input, the rest of the frame
is made anew. stretch: distort."""

RESIZES = ("cover", "contain", "stretch")
KEPT = 255
FRAMES_AT_ONCE = 16
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Of red, green and blue, BT.709."""
ROUNDING = 1e-6
"""Of a pixel: a stretch that touches less of one does not touch it."""


class Keyframe(NamedTuple):
    """An image, uint8 (h, w, 3), that the video shows at `frame`; negative numbers count from the end."""

    image: NDArray[np.uint8]
    frame: int

    @classmethod
    def at(cls, image: NDArray[np.uint8], seconds: float, fps: float) -> Self:
        """The keyframe that is nearest to a moment of a video of `fps` frames a second."""
        return cls(image, round(seconds * fps))


@dataclass(frozen=True)
class Box:
    """A rectangle in fractions of the input's frame, from `start` up to `end` in seconds, None being begin and end."""

    x: float
    y: float
    width: float
    height: float
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Margins:
    """Borders of the finished frame, in fractions of it, that lie outside of the input and are made anew."""

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    def __post_init__(self) -> None:
        if min(self.left, self.top, self.right, self.bottom) < 0:
            raise ValueError("expand must be 0 or more on every side")
        if self.left + self.right >= 1 or self.top + self.bottom >= 1:
            raise ValueError("expand must leave room for the input: opposite sides must add up to less than 1")


NO_MARGINS = Margins()


@dataclass(frozen=True)
class Known:
    """Given pixels at the size of the video that is made.

    pixels: uint8 (t, h, w, 3). share: uint8 (t, h, w), the part of the given pixel in the result, of 255: 255 is known
    and kept exactly, 0 is made anew; between lies a feather, which is made anew too and then blended with what was
    given there.
    """

    pixels: Frames
    share: NDArray[np.uint8]

    @property
    def mask(self) -> Region:
        """(t, h, w): True where pixels are known."""
        return self.share == KEPT


class Placement(NamedTuple):
    """How an input comes to lie on a frame: `box` (left, top, right, bottom) of it, in pixels and parts of them, is
    resized to rows x columns and surrounded by `border`.
    """

    box: tuple[float, float, float, float]
    rows: int
    columns: int
    border: tuple[tuple[int, int], tuple[int, int]]


def placement(
    source: tuple[int, int], target: tuple[int, int], resize: Resize = "cover", margins: Margins = NO_MARGINS
) -> Placement:
    """source, target: (height, width)."""
    if resize not in RESIZES:
        raise ValueError(f"resize must be one of {', '.join(RESIZES)}, got {resize!r}")
    height, width = target
    top, left = round(margins.top * height), round(margins.left * width)
    inner_height = max(1, height - top - round(margins.bottom * height))
    inner_width = max(1, width - left - round(margins.right * width))
    rows, columns = inner_height, inner_width
    cut_height, cut_width = map(float, source)
    if resize == "cover":
        ratio = max(rows / source[0], columns / source[1])
        cut_height, cut_width = min(cut_height, rows / ratio), min(cut_width, columns / ratio)
    elif resize == "contain":
        ratio = min(rows / source[0], columns / source[1])
        rows, columns = (max(1, round(side * ratio)) for side in source)
    top += (inner_height - rows) // 2
    left += (inner_width - columns) // 2
    cut_top, cut_left = (source[0] - cut_height) / 2, (source[1] - cut_width) / 2
    return Placement(
        (cut_left, cut_top, min(cut_left + cut_width, source[1]), min(cut_top + cut_height, source[0])),
        rows,
        columns,
        ((top, height - top - rows), (left, width - left - columns)),
    )


def chunks(count: int, size: int = FRAMES_AT_ONCE) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def place(frames: Frames, where: Placement) -> Frames:
    """Frames (t, h, w, 3) on the target's frame; around them their edges are repeated. Exact where nothing is
    resized.
    """
    left, top, right, bottom = where.box
    if (bottom - top, right - left) == (where.rows, where.columns) and top == int(top) and left == int(left):
        placed = frames[:, int(top) : int(bottom), int(left) : int(right), :3]
    else:
        placed = np.empty((len(frames), where.rows, where.columns, 3), np.uint8)
        for frame, pixels in zip(frames, placed, strict=True):
            picture = Image.fromarray(np.ascontiguousarray(frame[..., :3]))
            pixels[:] = picture.resize((where.columns, where.rows), Image.Resampling.BICUBIC, where.box)
    return np.pad(placed, ((0, 0), *where.border, (0, 0)), mode="edge") if np.any(where.border) else placed


def place_region(region: Region, where: Placement) -> Region:
    """A region on the target's frame, all that is around the input with it. A pixel belongs to it if any part does."""
    left, top, right, bottom = where.box
    for axis, (begin, end, count) in ((1, (top, bottom, where.rows)), (2, (left, right, where.columns))):
        region = any_of(region, np.linspace(begin, end, count + 1), axis)
    return np.pad(region, ((0, 0), *where.border), constant_values=True) if np.any(where.border) else region


def any_of(region: Region, edges: NDArray[np.floating], axis: int) -> Region:
    """For each stretch between neighbouring `edges` along `axis`, in pixels, whether any pixel that it touches is
    True.
    """
    first = np.floor(edges[:-1] + ROUNDING).astype(int)
    last = np.ceil(edges[1:] - ROUNDING).astype(int)
    if np.array_equal(first, np.arange(region.shape[axis])) and np.array_equal(last, first + 1):
        return region
    placed = region.take(first, axis)
    for step in range(1, int((last - first).max())):
        placed |= region.take(np.minimum(first + step, last - 1), axis)
    return placed


def region_of_boxes(
    boxes: Sequence[Box], num_frames: int, fps: float, height: int, width: int, field: str = "boxes"
) -> Region:
    """The union of `boxes` on frames of height x width: (t, h, w), or (1, h, w) if none of them has times.

    A pixel is inside if its centre is. Raises ValueError naming `field` for a box that covers nothing.
    """
    timed = any(box.start is not None or box.end is not None for box in boxes)
    times = np.arange(num_frames if timed else 1) / fps
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    region = np.zeros((len(times), height, width), bool)
    for number, box in enumerate(boxes):
        when = (times >= (box.start or 0)) & (times < (math.inf if box.end is None else box.end))
        rows = (y >= box.y) & (y < box.y + box.height)
        columns = (x >= box.x) & (x < box.x + box.width)
        if not (when.any() and rows.any() and columns.any()):
            raise ValueError(f"{field}.{number} must cover at least one pixel of one frame")
        region |= when[:, None, None] & rows[:, None] & columns
    return region


def from_keyframes(
    keyframes: Sequence[Keyframe], num_frames: int, height: int, width: int, resize: Resize = "cover"
) -> Known:
    """Whole frames that are known. With `contain`, the borders around them are not. Frames between show the nearest."""
    if not keyframes:
        raise ValueError("keyframes must hold at least one image")
    pixels = np.zeros((num_frames, height, width, 3), np.uint8)
    share = np.zeros((num_frames, height, width), np.uint8)
    seen: set[int] = set()
    for number, (image, frame) in enumerate(keyframes):
        if not -num_frames <= frame < num_frames:
            raise ValueError(f"keyframes.{number}.frame must be below num_frames, which is {num_frames}; got {frame}")
        index = frame % num_frames
        if index in seen:
            raise ValueError(f"keyframes.{number}.frame must not be given twice; got {frame}")
        seen.add(index)
        where = placement(image.shape[:2], (height, width), resize)
        pixels[index] = place(image[None], where)[0]
        share[index] = np.where(place_region(np.zeros((1, *image.shape[:2]), bool), where)[0], 0, KEPT)
    given = np.array(sorted(seen))
    nearest = given[np.abs(np.arange(num_frames)[:, None] - given).argmin(1)]
    return Known(pixels[nearest], share)


def from_video(
    video: Frames,
    region: Region,
    height: int,
    width: int,
    resize: Resize = "cover",
    margins: Margins = NO_MARGINS,
    feather: float = 0.0,
) -> Known:
    """A video of which all is known outside of `region`, a region of its own frames; margins are unknown as well."""
    check_region(region, video.shape[0], video.shape[1:3])
    where = placement(video.shape[1:3], (height, width), resize, margins)
    known = ~place_region(region, where)
    if known.all():
        raise ValueError("mask must leave something to be made anew: no pixel of it is white")
    share = np.broadcast_to(feathered(known, feather * min(height, width)), (len(video), height, width))
    return Known(place(video, where), share)


def from_still(
    image: NDArray[np.uint8], region: Region, num_frames: int, height: int, width: int, resize: Resize = "cover"
) -> Known:
    """An image that stands still outside of `region`, and is known altogether in the first frame (section 4.2)."""
    check_region(region, num_frames, image.shape[:2])
    where = placement(image.shape[:2], (height, width), resize)
    placed = place_region(region, where)
    if not placed.any():
        raise ValueError("mask must leave something to move: no pixel of it is white")
    share = np.repeat(np.where(placed, 0, KEPT).astype(np.uint8), num_frames // len(placed), axis=0)
    outside = place_region(np.zeros((1, *image.shape[:2]), bool), where)
    share[0] = np.where(outside[0], 0, KEPT)
    return Known(np.broadcast_to(place(image[None], where), (num_frames, height, width, 3)), share)


def without_first_frame(known: Known) -> Known:
    """Of `from_still`: the first frame's region is known no more than the second's."""
    share = known.share.copy()
    share[0] = share[min(1, len(share) - 1)]
    return Known(known.pixels, share)


def check_region(region: Region, num_frames: int, size: tuple[int, ...]) -> None:
    if region.dtype != np.bool_ or region.ndim != 3 or len(region) not in (1, num_frames) or region.shape[1:] != size:
        raise ValueError(
            f"mask must be bool of shape (1 or {num_frames}, {size[0]}, {size[1]}), got {region.dtype} {region.shape}"
        )


def feathered(known: Region, width: float) -> NDArray[np.uint8]:
    """The share of given pixels: all of the known ones, falling to none over `width` pixels on the other side."""
    share = np.where(known, KEPT, 0).astype(np.uint8)
    radius = round(width)
    if radius < 1:
        return share
    side = 2 * radius + 1
    for some in chunks(len(known)):
        near = torch.from_numpy(known[some])[:, None].float()
        near = F.avg_pool2d(near, (side, 1), 1, (radius, 0), count_include_pad=False)
        near = F.avg_pool2d(near, (1, side), 1, (0, radius), count_include_pad=False)
        levels = (2 * near * KEPT).clamp(0, KEPT - 1).byte()[:, 0].numpy()
        share[some] = np.where(known[some], KEPT, levels)
    return share


def on_grid(known: Known, height: int, width: int, frames: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """C (1, 3, t, height, width) in [-1, 1], 0 where unknown, and M (1, 1, t, height, width), on a grid no finer than
    the given pixels. Cells are averages of the pixels that they cover, known if all of those are.
    """
    colours, masks = [], []
    total = range(*frames.indices(len(known.pixels)))
    for start in range(total.start, total.stop, FRAMES_AT_ONCE):
        some = slice(start, min(start + FRAMES_AT_ONCE, total.stop))
        unknown = torch.from_numpy(known.share[some] != KEPT)[:, None].float()
        colour = rearrange(torch.from_numpy(np.ascontiguousarray(known.pixels[some])), "t h w c -> t c h w").float()
        if colour.shape[-2:] != (height, width):
            unknown = F.adaptive_max_pool2d(unknown, (height, width))
            colour = F.adaptive_avg_pool2d(colour, (height, width))
        masks.append(1 - unknown)
        colours.append((colour / 127.5 - 1) * (1 - unknown))
    return tuple(rearrange(torch.cat(parts), "t c h w -> 1 c t h w") for parts in (colours, masks))  # type: ignore[return-value]


def keep(frames: Frames, known: Known) -> Frames:
    """`frames` with the known pixels put back, bit by bit, and the feather blended.

    Where a block of 2x2 pixels is known in part, what is made takes the colour of what is known, at its own brightness:
    files in 4:2:0 have one colour for the block.
    """
    kept = frames.copy()
    for some in chunks(len(frames)):
        share, given = known.share[some], known.pixels[some]
        weight = share[..., None].astype(np.float32) / KEPT
        blended = (given * weight + frames[some] * (1 - weight)).round().astype(np.uint8)
        kept[some] = np.where(
            (share == KEPT)[..., None], given, np.where((share == 0)[..., None], frames[some], blended)
        )
        share_colours(kept[some], share == KEPT)
    return kept


def share_colours(frames: Frames, known: Region) -> None:
    """Changes pixels that are not known, in blocks of 2x2 of which others are. Sides are even."""
    in_blocks = "t (h y) (w x) ... -> t h w (y x) ..."
    known_of_block = rearrange(known, in_blocks, y=2, x=2)
    parts = known_of_block.any(-1) & ~known_of_block.all(-1)
    if not parts.any():
        return
    blocks = rearrange(frames, in_blocks, y=2, x=2)
    pixels, is_known = blocks[parts].astype(np.float32), known_of_block[parts][..., None]  # (n, 4, 3), (n, 4, 1)
    colour = (pixels * is_known).sum(1, keepdims=True) / is_known.sum(1, keepdims=True)
    brightness = (pixels - colour) @ LUMA
    mixed = np.where(is_known, pixels, colour + brightness[..., None])
    blocks[parts] = mixed.round().clip(0, 255).astype(np.uint8)
    frames[:] = rearrange(blocks, "t h w (y x) c -> t (h y) (w x) c", y=2, x=2)
