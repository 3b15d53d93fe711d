"""The options of `lumiere generate` that name files and regions, as fields and files of a request."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.cli.client import ServiceError

MOMENT = re.compile(r"(?P<frame>-?\d+)|(?P<time>\d+\.?\d*|\.\d+)s")
BOX = ("x", "y", "width", "height", "start", "end")
MARGINS = ("left", "top", "right", "bottom")


@dataclass
class Parts:
    """What a form consists of: texts, and files by the names of their fields."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def parts_of(
    request: Mapping[str, Any],
    *,
    files: Mapping[str, Path | None],
    keyframes: Sequence[str] = (),
    boxes: Sequence[str] = (),
    expand: str | None = None,
) -> Parts:
    """The form of a request.

    Args:
        keyframes: `FRAME=PATH` or `SECONDSs=PATH`. boxes: `X,Y,WIDTH,HEIGHT[,START,END]`. expand:
            `LEFT,TOP,RIGHT,BOTTOM`.

    Raises:
        ServiceError: an option is malformed, or a file is not there.
    """
    parts = Parts({name: text_of(value) for name, value in request.items()})
    parts.files.update({name: path for name, path in files.items() if path is not None})
    for number, keyframe in enumerate(keyframes):
        when, _, path = keyframe.partition("=")
        moment = MOMENT.fullmatch(when)
        if not path or moment is None:
            raise ServiceError(
                "--keyframe must be FRAME=PATH or SECONDSs=PATH, such as 79=end.png or 2.5s=middle.png, "
                f"got {keyframe!r}"
            )
        parts.fields[f"keyframes[{number}][{moment.lastgroup}]"] = moment[moment.lastgroup or 0]
        parts.files[f"keyframes[{number}][image]"] = Path(path)
    if boxes:
        rectangles = [dict(zip(BOX, numbers(box, "--box", (4, 6)), strict=False)) for box in boxes]
        parts.fields["boxes"] = json.dumps(rectangles)
    if expand is not None:
        parts.fields["expand"] = json.dumps(dict(zip(MARGINS, numbers(expand, "--expand", (4,)), strict=True)))
    for file in parts.files.values():
        if not file.is_file():
            raise ServiceError(f"{file} is not a file")
    return parts


def numbers(text: str, option: str, counts: tuple[int, ...]) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in counts:
        wanted = " or ".join(map(str, counts))
        raise ServiceError(f"{option} must be {wanted} numbers with commas between, got {text!r}")
    return found


def text_of(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
