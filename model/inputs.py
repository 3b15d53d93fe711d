"""Input files as the arrays that the tasks take."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.conditioning import Box, Frames, Region, region_of_boxes
from model.image_io import read_image, read_mask
from model.video_reader import VideoLimits, read_video, read_video_mask

STILLS = (".jpg", ".jpeg", ".png", ".webp")


def enough(width: int, height: int) -> int:
    """Pixels along a side of an input beyond which a video of width x height gains nothing."""
    return 2 * max(width, height)


def read_picture(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """(h, w, 3), for a video of width x height."""
    return read_image(path, shortest_side=enough(width, height))


def read_source(path: Path, fps: float, num_frames: int, width: int, height: int) -> Frames:
    """(t, h, w, 3) at the rate of the video that is made, of width x height; t is less than `num_frames` if the file
    ends before.
    """
    return read_video(path, fps, num_frames, VideoLimits(longest_side=enough(width, height)))


def read_region(
    mask: Path | None, boxes: Sequence[Box], num_frames: int, fps: float, height: int, width: int
) -> Region:
    """What is made anew, (t or 1, h, w): white in the mask, and inside the boxes. height, width: of the input it is of.

    A mask is stretched to the input; a mask video that is shorter stays as its last frame is.
    """
    region = np.zeros((1, height, width), bool)
    if boxes:
        region = region | region_of_boxes(boxes, num_frames, fps, height, width)
    if mask is not None:
        still = mask.suffix.lower() in STILLS
        painted = read_mask(mask) if still else read_video_mask(mask, fps, num_frames)
        if not still and len(painted) < num_frames:
            painted = np.concatenate([painted, np.repeat(painted[-1:], num_frames - len(painted), axis=0)])
        region = region | stretched(painted, height, width)
    return region


def stretched(painted: Region, height: int, width: int) -> Region:
    """Each pixel takes the nearest one of the mask."""
    rows = ((np.arange(height) + 0.5) * painted.shape[1] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * painted.shape[2] / width).astype(int)
    return painted[:, rows][:, :, columns]
