"""Bodies of the tasks that take images and videos in. Defaults and limits are the model's, as for text-to-video."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from service.api.media_input import Media
from service.api.schemas import RequestPart, Text, VideoRequest
from service.jobs.contract import Box, Fraction, Margins, Resize

Boxes = Annotated[list[Box], Field(max_length=32)]
RESIZE = "How an input of another shape becomes a frame: `cover` cuts, `contain` adds borders, `stretch` distorts."
BOXES = "Rectangles in fractions of the frame, each with `x`, `y`, `width`, `height`, and `start` and `end` in seconds."


def example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class KeyframeInput(RequestPart):
    """An image for one frame."""

    image: Media
    frame: int = Field(ge=-1, lt=10_000, description="Counted from 0; -1 is the last frame.")


class ImageToVideoRequest(VideoRequest):
    """Body of `POST /v1/image-to-video`: at least one of `image`, `last_image` and `keyframes`."""

    model_config = example(prompt="a ship on the sea", image="file_abcdefghijklmnopqrstuvwxyz", seed=7)

    image: Media | None = Field(None, description="The first frame.")
    last_image: Media | None = Field(None, description="The last frame.")
    keyframes: list[KeyframeInput] = Field([], max_length=32, description="Images for any frames.")
    resize: Resize = Field("cover", description=RESIZE)


class InpaintRequest(VideoRequest):
    """Body of `POST /v1/inpaint`: `video`, and at least one of `mask`, `boxes` and `expand`."""

    model_config = example(
        prompt="a red balloon",
        video="file_abcdefghijklmnopqrstuvwxyz",
        boxes=[{"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}],
    )

    video: Media = Field(description="The source.")
    mask: Media | None = Field(None, description="An image or video, white where the video is made anew.")
    boxes: Boxes = Field([], description=BOXES)
    expand: Margins | None = Field(None, description="Margins to add around the source, in fractions of the frame.")
    feather: float = Field(0.0, ge=0, le=0.5, description="Width of the soft border, in fractions of the short side.")
    resize: Resize = Field("cover", description=RESIZE)


class CinemagraphRequest(VideoRequest):
    """Body of `POST /v1/cinemagraph`: `image`, and at least one of `mask` and `boxes`."""

    model_config = example(
        prompt="waves",
        image="file_abcdefghijklmnopqrstuvwxyz",
        boxes=[{"x": 0, "y": 0.5, "width": 1, "height": 0.5}],
        loop=True,
    )

    image: Media
    mask: Media | None = Field(None, description="An image, white where the picture moves.")
    boxes: Boxes = Field([], description=BOXES)
    loop: bool = Field(False, description="The end runs into the beginning.")
    resize: Resize = Field("cover", description=RESIZE)


class StylizeRequest(VideoRequest):
    """Body of `POST /v1/stylize`: at least one of `video` and `style`."""

    model_config = example(prompt="origami", video="file_abcdefghijklmnopqrstuvwxyz", strength=0.6)

    video: Media | None = Field(None, description="A source whose motion is kept.")
    style: Annotated[Text, Field(min_length=1, max_length=100)] | None = Field(
        None, description="The name of a style that the model has."
    )
    strength: Fraction = Field(0.6, description="How far the source is left behind: 0 keeps it, 1 forgets it.")
    style_strength: Fraction = Field(1.0, description="Weight of the style.")
