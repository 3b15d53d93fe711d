"""`GET /v1/videos/{id}/content`: the MP4, its thumbnail or its sheet of frames, whole or in part; `/link` to it."""

import time
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from service.access.links import LONGEST_SECONDS, SHORTEST_SECONDS
from service.api.errors import ApiError
from service.api.openai_route import OpenAIRoute, refusals
from service.api.openapi import REQUEST_ID
from service.api.resources import Held, in_time
from service.api.schemas import VideoLink
from service.api.sending import object_responses, send_object
from service.api.video_id import ExistingJob, finished
from service.jobs.contract import Job
from service.storage import NotStored
from service.styles.records import WEIGHTS_TYPE

router = APIRouter(tags=["videos"], route_class=OpenAIRoute)

Variant = Literal["video", "thumbnail", "spritesheet"]
WHICH = Query(description="The MP4, a picture of its middle (WebP), or a sheet of its frames (JPEG).")

MEDIA_TYPES = {"mp4": "video/mp4", "webp": "image/webp", "jpg": "image/jpeg", "safetensors": WEIGHTS_TYPE}
RESPONSES = {
    **object_responses(*MEDIA_TYPES.values()),
    **refusals(
        "invalid_link",
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
    variant: Annotated[Variant, WHICH] = "video",
    range_header: Annotated[str | None, Header(alias="Range", description="One range of bytes.")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Not before the job is completed: until then a 409 with `Retry-After`, and a 404 when it failed or was cancelled.
    Several ranges at once are answered with the whole file. A link of `/link` needs no key.
    """
    result = finished(job)
    key = key_of(job, variant)
    suffix = key.rpartition(".")[2]
    name = f"{job.id}.{suffix}" if variant == "video" else f"{job.id}-{variant}.{suffix}"
    digest = result.sha256 if variant == "video" else f"{result.sha256}-{variant}"
    try:
        return await send_object(request, held.storage, key, etag=digest, media_type=MEDIA_TYPES[suffix], filename=name)
    except NotStored:
        raise ApiError("video_expired", "the file of this video was removed") from None


@router.get(
    "/v1/videos/{video_id}/link",
    summary="Link to a video",
    responses={
        200: {"headers": REQUEST_ID},
        **refusals(
            "video_not_found",
            "video_has_no_content",
            "video_not_ready",
            "invalid_field",
            "redis_unavailable",
            "storage_unavailable",
        ),
    },
)
async def video_link(
    job: ExistingJob,
    held: Held,
    response: Response,
    variant: Annotated[Variant, WHICH] = "video",
    expires_in: Annotated[
        int, Query(ge=SHORTEST_SECONDS, le=LONGEST_SECONDS, description="Seconds for which the link is good.")
    ] = 3600,
) -> VideoLink:
    """A URL that gives the content to anybody who has it, without a key: for `<video src>`, for a mail. It is signed,
    and a path of this service, or the URL of the store where the operator has chosen so.
    """
    key = key_of(job, variant)
    response.headers["Cache-Control"] = "no-store"
    if held.presign:
        url = await held.storage.presigned(key, timedelta(seconds=expires_in))
        return VideoLink(url=url, expires_at=int(time.time()) + expires_in)
    path = f"/v1/videos/{job.id}/content"
    url, expires_at = await in_time(held.links.make(path, {"variant": variant}, expires_in))
    return VideoLink(url=url, expires_at=expires_at)


def key_of(job: Job, variant: Variant) -> str:
    """Where the content is stored. Raises ApiError when there is none."""
    result = finished(job)
    key = {"video": result.path, "thumbnail": result.thumbnail, "spritesheet": result.spritesheet}[variant]
    if not key:
        raise ApiError("video_has_no_content", f"this video was made without a {variant}", param="variant")
    return key
