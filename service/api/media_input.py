"""How a request names an image or a video: sent along, in the JSON itself, or by the id of something stored before."""

import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from service.api.media_schema import media_schema

FORM_FILE = re.compile(r"upload:[0-9a-f]{32}:\d{1,3}")
FIELDS = ("file_id", "id", "url", "image_url", "data")


class MediaInput(BaseModel):
    """Exactly one of these names the image or video. A plain text stands for the field that fits it.

    URLs other than data URLs are refused: this service fetches nothing.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    file_id: str | None = Field(None, max_length=64, description="An upload of `/v1/files`.")
    id: str | None = Field(None, max_length=64, description="A completed video of `/v1/videos`.")
    url: str | None = Field(None, description="A data URL: `data:image/png;base64,…`")
    image_url: str | None = Field(None, description="The same as `url`, as OpenAI's clients write it.")
    data: str | None = Field(None, description="The bytes in base64.")

    @model_validator(mode="after")
    def exactly_one(self) -> Self:
        if sum(getattr(self, name) is not None for name in FIELDS) != 1:
            raise ValueError(f"needs exactly one of {', '.join(FIELDS)}")
        return self

    @property
    def upload(self) -> str | None:
        """The token of a file in the same form."""
        return self.data if self.data is not None and FORM_FILE.fullmatch(self.data) else None


def of_text(value: Any) -> Any:
    """A bare text as the object that it stands for."""
    if not isinstance(value, str):
        if isinstance(value, dict | MediaInput):
            return value
        raise ValueError("must be text or an object")
    if value.startswith("file_"):
        return {"file_id": value}
    if value.startswith("video_"):
        return {"id": value}
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", value) and not FORM_FILE.fullmatch(value):
        return {"url": value}
    return {"data": value}


ImageMedia = Annotated[MediaInput, BeforeValidator(of_text), WithJsonSchema(media_schema("image"))]
VideoMedia = Annotated[MediaInput, BeforeValidator(of_text), WithJsonSchema(media_schema("video"))]
Media = Annotated[MediaInput, BeforeValidator(of_text), WithJsonSchema(media_schema("image", "video"))]
NewMedia = Annotated[MediaInput, BeforeValidator(of_text), WithJsonSchema(media_schema("image", "video", stored=False))]
"""Which kinds a field takes is held by `service.api.inputs`, from the bytes."""
