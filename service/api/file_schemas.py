"""Uploaded files as they travel over HTTP: the shapes of OpenAI's Files API."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from service.api.media_input import NewMedia
from service.api.paging import Page
from service.api.schemas import RequestPart
from service.uploads.records import FileRecord

MAX_LIFETIME_SECONDS = 30 * 86_400
Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class ExpiresAfter(RequestPart):
    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(ge=60, le=MAX_LIFETIME_SECONDS)


class FileRequest(RequestPart):
    """Body of `POST /v1/files`."""

    file: NewMedia = Field(description="An image or a video.")
    purpose: Purpose = Field("vision", description="A word of yours, to list by.")
    expires_after: ExpiresAfter | None = Field(None, description="Left out, as long as a finished video is kept.")


class File(BaseModel):
    """An uploaded file. Times are unix seconds; a job that uses the file prolongs its life."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    media_type: str = Field(description="Told from the bytes.")
    sha256: str

    @classmethod
    def of(cls, record: FileRecord) -> Self:
        return cls(**record.model_dump(exclude={"owner"}))


class FileList(Page[File]):
    """One page of files."""


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
