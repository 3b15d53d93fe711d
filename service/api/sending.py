"""A stored object as a response: whole or in part, by the conditional headers of the request."""

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from service.api.byte_range import ByteRange, RangeNotSatisfiable, asked_range, names_etag, range_applies
from service.api.errors import ApiError
from service.api.openapi import REQUEST_ID, Responses
from service.storage import Storage

BINARY = {"schema": {"type": "string", "format": "binary"}}
HEADERS = {
    **REQUEST_ID,
    "ETag": {"description": "Of a video and a file: its SHA-256.", "schema": {"type": "string"}},
    "Accept-Ranges": {"schema": {"type": "string", "enum": ["bytes"]}},
    "Content-Disposition": {"schema": {"type": "string"}},
}


def object_responses(*media_types: str) -> Responses:
    """`responses` of a route that answers with `send_object`."""
    content = dict.fromkeys(media_types, BINARY)
    part = {**HEADERS, "Content-Range": {"schema": {"type": "string"}}}
    return {
        200: {"description": "The whole file.", "headers": HEADERS, "content": content},
        206: {"description": "The part asked for by `Range`.", "headers": part, "content": content},
        304: {"description": "`If-None-Match` names the present ETag.", "headers": HEADERS},
    }


async def send_object(
    request: Request, storage: Storage, key: str, *, etag: str, media_type: str, filename: str
) -> Response:
    """The object under `key`, which never changes; `etag` is an opaque name of its bytes.

    Raises:
        ApiError: `range_not_satisfiable`.
        NotStored: it is gone.
    """
    etag = f'"{etag}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{filename}"',
        "X-Content-Type-Options": "nosniff",
    }
    if names_etag(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    size = await storage.size(key)
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(size)}, media_type=media_type)
    wanted = request.headers.get("range") if range_applies(request.headers.get("if-range"), etag) else None
    part = satisfiable(wanted, size)
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
    sent = part or ByteRange(0, size)
    headers["Content-Length"] = str(sent.length)
    body = storage.stream(key, sent.start, sent.end)
    return StreamingResponse(body, 206 if part else 200, headers, media_type=media_type)


def satisfiable(header: str | None, size: int) -> ByteRange | None:
    try:
        return asked_range(header, size)
    except RangeNotSatisfiable:
        raise ApiError(
            "range_not_satisfiable",
            f"the file has {size} bytes",
            param="Range",
            headers={"Content-Range": f"bytes */{size}"},
        ) from None
