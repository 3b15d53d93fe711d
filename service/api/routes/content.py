"""`GET /v1/videos/{id}/content`: the MP4, whole or in part."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.api.byte_range import ByteRange, RangeNotSatisfiable, asked_range, names_etag, range_applies
from service.api.errors import ApiError
from service.api.openapi import REQUEST_ID, problems
from service.api.resources import Held
from service.api.video_id import ExistingJob
from service.jobs.contract import Job, JobResult
from service.storage import NotStored

router = APIRouter(tags=["videos"])

UNKNOWN_WAIT_SECONDS = 2
MP4 = {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}
HEADERS = {
    **REQUEST_ID,
    "ETag": {"description": "SHA-256 of the file.", "schema": {"type": "string"}},
    "Accept-Ranges": {"schema": {"type": "string", "enum": ["bytes"]}},
    "Content-Disposition": {"schema": {"type": "string"}},
}
RESPONSES = {
    200: {"description": "The whole file.", "headers": HEADERS, "content": MP4},
    206: {
        "description": "The part asked for by `Range`.",
        "headers": {**HEADERS, "Content-Range": {"schema": {"type": "string"}}},
        "content": MP4,
    },
    304: {"description": "`If-None-Match` names the present ETag.", "headers": HEADERS},
    **problems(
        "video_not_found",
        "video_has_no_content",
        "video_not_ready",
        "video_expired",
        "range_not_satisfiable",
        "invalid_field",
        "redis_unavailable",
        "storage_unavailable",
    ),
}


@router.get("/v1/videos/{video_id}/content", response_class=Response, summary="Download a video", responses=RESPONSES)
@router.head("/v1/videos/{video_id}/content", response_class=Response, include_in_schema=False)
async def video_content(
    request: Request,
    job: ExistingJob,
    held: Held,
    variant: Annotated[Literal["video"], Query(description="`video` is the MP4.")] = "video",
    range_header: Annotated[str | None, Header(alias="Range", description="One range of bytes.")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Not before the job is completed: until then a 409 with `Retry-After`, and a 404 when it failed or was cancelled.
    Several ranges at once are answered with the whole file.
    """
    result = finished(job)
    etag = f'"{result.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{job.id}.mp4"',
        "X-Content-Type-Options": "nosniff",
    }
    if names_etag(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    try:
        size = await held.storage.size(result.path)
    except NotStored:
        raise ApiError("video_expired", "the file of this video was removed") from None
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(size)}, media_type="video/mp4")
    part = satisfiable(range_header, size) if range_applies(if_range, etag) else None
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
    sent = part or ByteRange(0, size)
    headers["Content-Length"] = str(sent.length)
    body = held.storage.stream(result.path, sent.start, sent.end)
    return StreamingResponse(body, 206 if part else 200, headers, media_type="video/mp4")


def finished(job: Job) -> JobResult:
    """The result. Raises ApiError when there is none yet, or there will be none."""
    if job.result is not None:
        return job.result
    if job.state.terminal:
        raise ApiError("video_has_no_content", f"the job is {job.state}; the video object says why")
    wait = UNKNOWN_WAIT_SECONDS if job.eta_seconds is None else job.eta_seconds
    raise ApiError("video_not_ready", f"the job is {job.state}, {job.progress} % done", retry_after=wait)


def satisfiable(header: str | None, size: int) -> ByteRange | None:
    try:
        return asked_range(header, size)
    except RangeNotSatisfiable:
        raise ApiError(
            "range_not_satisfiable",
            f"the video has {size} bytes",
            param="Range",
            headers={"Content-Range": f"bytes */{size}"},
        ) from None
