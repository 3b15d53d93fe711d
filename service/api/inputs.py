"""The images and videos of a request, wherever they are, as references to stored files."""

import asyncio
import base64
import io
from collections.abc import Mapping
from typing import IO

from starlette.datastructures import UploadFile

from service.api.errors import ApiError
from service.api.media_input import MediaInput
from service.api.resources import Resources, in_time
from service.api.uploads import decode_base64, decode_data_url, forget_upload, store_upload
from service.api.video_id import finished
from service.jobs.contract import STYLE, MediaRef
from service.uploads.media import HEAD_BYTES, MEDIA_TYPES, Kind, sniff
from service.uploads.records import FileRecord

PURPOSE = "input"
"""Of the files that came along with the request of a job."""


class InputTaker:
    """Takes the inputs of one request; `undo` removes what it has stored for a job that was not accepted."""

    def __init__(self, held: Resources, files: Mapping[str, UploadFile]) -> None:
        self.held = held
        self.files = files
        self.stored: list[FileRecord] = []

    async def take(self, source: MediaInput, param: str, *kinds: Kind) -> MediaRef:
        """The stored file that `source` names.

        Raises:
            ApiError: there is none, or it is none of these kinds; `param` is named.
        """
        media = await self.find(source, param)
        kind = MEDIA_TYPES[media.media_type].kind
        if kind in kinds:
            return media
        wanted = " or ".join(map(article, kinds))
        if source.file_id is not None:  # the id names nothing that this field takes
            detail = f"{param} must be {wanted}, and the file with this id is {article(kind)}"
            raise ApiError("file_not_found", detail, param=param)
        raise ApiError("unsupported_media", f"{param} must be {wanted}", param=param)

    async def take_optional(self, source: MediaInput | None, param: str, *kinds: Kind) -> MediaRef | None:
        return None if source is None else await self.take(source, param, *kinds)

    async def kind_of(self, source: MediaInput) -> Kind | None:
        """What `source` names, without storing it; None where `take` will refuse it."""
        if source.id is not None:
            return "video"
        if source.file_id is not None:
            file = await in_time(self.held.files.get(source.file_id))
            return None if file is None else MEDIA_TYPES[file.ref.media_type].kind
        try:
            return sniff(self.head_of(source)).kind
        except ValueError:
            return None

    def head_of(self, source: MediaInput) -> bytes:
        """The first bytes of what was sent along. Raises ValueError for what is not base64."""
        if source.upload is not None and source.upload in self.files:
            file = self.files[source.upload].file
            head = file.read(HEAD_BYTES)
            file.seek(0)
            return head
        text = source.data or (source.url or source.image_url or "").partition(",")[2]
        return base64.b64decode(text[: 2 * HEAD_BYTES])

    async def find(self, source: MediaInput, param: str) -> MediaRef:
        if source.file_id is not None:
            file = await in_time(self.held.files.get(source.file_id))
            if file is None:
                raise ApiError("file_not_found", f"{param}: there is no file with this id", param=param)
            await in_time(self.held.files.keep(file.id))
            return file.ref
        if source.id is not None:
            return await self.video(source.id, param)
        if source.upload is not None and source.upload in self.files:
            upload = self.files[source.upload]
            return await self.store(upload.file, param, upload.filename or "")
        if source.data is not None:
            content = await asyncio.to_thread(decode_base64, source.data, param)
        else:
            content = await asyncio.to_thread(decode_data_url, source.url or source.image_url or "", param)
        return await self.store(io.BytesIO(content), param, "")

    async def video(self, video_id: str, param: str) -> MediaRef:
        job = await in_time(self.held.records.get(video_id))
        if job is None or job.spec.task == STYLE:
            raise ApiError("video_not_found", f"{param}: there is no video with this id", param=param)
        result = finished(job, param)
        return MediaRef(key=result.path, media_type="video/mp4", sha256=result.sha256, bytes=result.bytes)

    async def store(self, file: IO[bytes], param: str, filename: str) -> MediaRef:
        record = await store_upload(self.held, file, param=param, filename=filename, purpose=PURPOSE)
        self.stored.append(record)
        return record.ref

    async def undo(self) -> None:
        for file in self.stored:
            await forget_upload(self.held, file)


def article(kind: Kind) -> str:
    return "an image" if kind == "image" else "a video"
