"""`/v1/files`, also under `/v1/uploads`: images and videos that several requests may use."""

import io
from typing import IO, Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.api.errors import ApiError
from service.api.file_schemas import File, FileDeleted, FileList, FileRequest
from service.api.media_input import MediaInput
from service.api.openai_route import OpenAIRoute, refusals
from service.api.openapi import REQUEST_ID, Responses, form_request
from service.api.paging import AFTER, page_of
from service.api.resources import Held, Resources, in_time
from service.api.sending import object_responses, send_object
from service.api.task_body import Asked, task_body
from service.api.uploads import decode_base64, decode_data_url, forget_upload, store_upload
from service.storage import NotStored
from service.uploads.media import MEDIA_TYPES
from service.uploads.records import FileRecord

router = APIRouter(tags=["files"])
files = APIRouter(route_class=OpenAIRoute)

ANSWER: Responses = {200: {"headers": REQUEST_ID}}
REFUSALS = (
    "invalid_json",
    "invalid_form",
    "request_timeout",
    "body_too_large",
    "file_too_large",
    "unsupported_media_type",
    "unsupported_media",
    "invalid_field",
    "missing_field",
    "unknown_field",
    "redis_unavailable",
    "storage_unavailable",
)

FileId = Annotated[str, Path(description="As given by the service, `file_…`.")]


async def existing_file(file_id: FileId, held: Held) -> FileRecord:
    file = await in_time(held.files.get(file_id))
    if file is None:
        raise ApiError("file_not_found", "there is no file with this id", param="file_id")
    return file


ExistingFile = Annotated[FileRecord, Depends(existing_file)]


@files.post(
    "", summary="Upload a file", openapi_extra=form_request(FileRequest), responses={**ANSWER, **refusals(*REFUSALS)}
)
async def create_file(asked: Annotated[Asked[FileRequest], Depends(task_body(FileRequest))], held: Held) -> File:
    """Stores an image or a video; its id then stands for it in every request."""
    return File.of(await stored(asked, held))


async def stored(asked: Asked[FileRequest], held: Resources) -> FileRecord:
    source, expiry = asked.fields.file, asked.fields.expires_after
    file, filename = content_of(source, asked)
    return await store_upload(
        held,
        file,
        param="file",
        filename=filename,
        purpose=asked.fields.purpose,
        lifetime_seconds=expiry.seconds if expiry else None,
    )


def content_of(source: MediaInput, asked: Asked[FileRequest]) -> tuple[IO[bytes], str]:
    if source.upload is not None and source.upload in asked.files:
        upload = asked.files[source.upload]
        return upload.file, upload.filename or ""
    if source.data is not None:
        return io.BytesIO(decode_base64(source.data, "file")), ""
    if source.url is None and source.image_url is None:
        raise ApiError("invalid_field", "file must be a file, a data URL or base64", param="file")
    return io.BytesIO(decode_data_url(source.url or source.image_url or "", "file")), ""


@files.get("", summary="List files", responses={**ANSWER, **refusals("invalid_field", "redis_unavailable")})
async def list_files(
    held: Held,
    after: Annotated[str | None, AFTER] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    order: Annotated[Literal["asc", "desc"], Query(description="By time of creation.")] = "desc",
    purpose: Annotated[str | None, Query(max_length=64)] = None,
) -> FileList:
    """A page of files, and whether there are more behind it. Files that came with the request of a job have the purpose
    `input`.
    """
    found = await in_time(held.files.list(after=after, limit=limit + 1, newest_first=order == "desc", purpose=purpose))
    return page_of(FileList, [File.of(file) for file in found], limit)


@files.get(
    "/{file_id}", summary="Look at a file", responses={**ANSWER, **refusals("file_not_found", "redis_unavailable")}
)
async def get_file(file: ExistingFile) -> File:
    return File.of(file)


@files.get(
    "/{file_id}/content",
    response_class=Response,
    summary="Download a file",
    responses={
        **object_responses(*MEDIA_TYPES),
        **refusals("file_not_found", "range_not_satisfiable", "redis_unavailable", "storage_unavailable"),
    },
)
async def file_content(request: Request, file: ExistingFile, held: Held) -> Response:
    """The bytes as they were uploaded."""
    name = f"{file.id}{MEDIA_TYPES[file.media_type].suffix}"
    try:
        return await send_object(
            request, held.storage, file.ref.key, etag=file.sha256, media_type=file.media_type, filename=name
        )
    except NotStored:
        raise ApiError("file_not_found", "the bytes of this file were removed", param="file_id") from None


@files.delete(
    "/{file_id}",
    summary="Delete a file",
    responses={**ANSWER, **refusals("file_not_found", "redis_unavailable", "storage_unavailable")},
)
async def delete_file(file: ExistingFile, held: Held) -> FileDeleted:
    """Removes a file at once; jobs that wait for it will fail."""
    await forget_upload(held, file)
    return FileDeleted(id=file.id)


router.include_router(files, prefix="/v1/files")
router.include_router(files, prefix="/v1/uploads", include_in_schema=False)
