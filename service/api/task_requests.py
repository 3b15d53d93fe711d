"""Bodies of the tasks that take images and videos in. Defaults and limits are the model's, as for text-to-video."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict, JsonValue

from service.api.media_input import ImageMedia, Media, VideoMedia
from service.api.media_schema import EXAMPLE_FILE
from service.api.schemas import RequestPart, VideoRequest, Words
from service.jobs.contract import Box, Fraction, Margins, Resize, Seconds

Boxes = Annotated[list[Box], Field(max_length=32)]
RESIZE = "How an input of another shape becomes a frame: `cover` cuts, `contain` adds borders, `stretch` distorts."
BOXES = "Rectangles in fractions of the frame, each with `x`, `y`, `width`, `height`, and `start` and `end` in seconds."


FILE = {"type": ["string", "object"]}
SOME = {"type": "array", "minItems": 1}


def shown(needs: dict[str, dict[str, Any]], **example: Any) -> ConfigDict:
    """What the JSON Schema says besides. `needs`: of these fields at least one is given."""
    either: list[JsonValue] = [{"required": [name], "properties": {name: given}} for name, given in needs.items()]
    extra: JsonDict = {"examples": [example], "anyOf": either}
    return ConfigDict(json_schema_extra=extra)


class KeyframeInput(RequestPart):
    """An image for one frame, which either its number or its time tells."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["frame"], "properties": {"frame": {"type": "integer"}, "time": {"type": "null"}}},
                {"required": ["time"], "properties": {"time": {"type": "number"}, "frame": {"type": "null"}}},
            ]
        }
    )

    image: ImageMedia
    frame: int | None = Field(None, ge=-1, lt=10_000, description="Counted from 0; -1 is the last frame.")
    time: Seconds | None = Field(None, description="In seconds; the frame nearest to it is taken.")


class ImageToVideoRequest(VideoRequest):
    """Body of `POST /v1/image-to-video`: at least one of `image`, `last_image` and `keyframes`."""

    model_config = shown(
        {"image": FILE, "last_image": FILE, "keyframes": SOME},
        prompt="a ship on the sea",
        image=EXAMPLE_FILE,
        seed=7,
    )

    image: ImageMedia | None = Field(None, description="The first frame.")
    last_image: ImageMedia | None = Field(None, description="The last frame.")
    keyframes: list[KeyframeInput] = Field([], max_length=32, description="Images for any frames.")
    resize: Resize = Field("cover", description=RESIZE)


class InpaintRequest(VideoRequest):
    """Body of `POST /v1/inpaint`: `video`, and at least one of `mask`, `boxes` and `expand`."""

    model_config = shown(
        {"mask": FILE, "boxes": SOME, "expand": {"type": "object"}},
        prompt="a red balloon",
        video=EXAMPLE_FILE,
        boxes=[{"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}],
    )

    video: VideoMedia = Field(description="The source.")
    mask: Media | None = Field(None, description="An image or video, white where the video is made anew.")
    boxes: Boxes = Field([], description=BOXES)
    expand: Margins | None = Field(None, description="Margins to add around the source, in fractions of the frame.")
    feather: float = Field(0.0, ge=0, le=0.5, description="Width of the soft border, in fractions of the short side.")
    resize: Resize = Field("cover", description=RESIZE)


class CinemagraphRequest(VideoRequest):
    """Body of `POST /v1/cinemagraph`: `image`, and at least one of `mask` and `boxes`."""

    model_config = shown(
        {"mask": FILE, "boxes": SOME},
        prompt="waves",
        image=EXAMPLE_FILE,
        boxes=[{"x": 0, "y": 0.5, "width": 1, "height": 0.5}],
        loop=True,
    )

    image: ImageMedia
    mask: ImageMedia | None = Field(None, description="An image, white where the picture moves.")
    boxes: Boxes = Field([], description=BOXES)
    loop: bool = Field(False, description="The end runs into the beginning.")
    resize: Resize = Field("cover", description=RESIZE)


class StylizeRequest(VideoRequest):
    """Body of `POST /v1/stylize`: at least one of `video` and `style`."""

    model_config = shown(
        {"video": FILE, "style": {"type": "string"}}, prompt="origami", video=EXAMPLE_FILE, strength=0.3
    )

    video: VideoMedia | None = Field(None, description="A source whose motion is kept.")
    style: Annotated[Words, Field(max_length=100)] | None = Field(
        None, description="The name of a style that the model has, or the name or id of one of yours."
    )
    strength: Fraction | None = Field(
        None, description="How far the source is left behind: 0 keeps it, 1 forgets it. Left out, the model's own."
    )
    style_strength: Fraction = Field(1.0, description="Weight of the style.")
