"""`GET /v1/videos/{id}/content`: the MP4, its thumbnail or its sheet of frames, whole or in part."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from service.api.errors import ApiError
from service.api.openapi import problems
from service.api.resources import Held
from service.api.sending import object_responses, send_object
from service.api.video_id import ExistingJob, finished
from service.storage import NotStored
from service.styles.records import WEIGHTS_TYPE

router = APIRouter(tags=["videos"])

Variant = Literal["video", "thumbnail", "spritesheet"]

MEDIA_TYPES = {"mp4": "video/mp4", "webp": "image/webp", "jpg": "image/jpeg", "safetensors": WEIGHTS_TYPE}
RESPONSES = {
    **object_responses(*MEDIA_TYPES.values()),
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
    variant: Annotated[
        Variant, Query(description="The MP4, a picture of its middle (WebP), or a sheet of its frames (JPEG).")
    ] = "video",
    range_header: Annotated[str | None, Header(alias="Range", description="One range of bytes.")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Not before the job is completed: until then a 409 with `Retry-After`, and a 404 when it failed or was cancelled.
    Several ranges at once are answered with the whole file.
    """
    result = finished(job)
    key = {"video": result.path, "thumbnail": result.thumbnail, "spritesheet": result.spritesheet}[variant]
    if not key:
        raise ApiError("video_has_no_content", f"this video was made without a {variant}", param="variant")
    suffix = key.rpartition(".")[2]
    name = f"{job.id}.{suffix}" if variant == "video" else f"{job.id}-{variant}.{suffix}"
    digest = result.sha256 if variant == "video" else f"{result.sha256}-{variant}"
    try:
        return await send_object(request, held.storage, key, etag=digest, media_type=MEDIA_TYPES[suffix], filename=name)
    except NotStored:
        raise ApiError("video_expired", "the file of this video was removed") from None
