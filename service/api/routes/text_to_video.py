"""`POST /v1/text-to-video`: a prompt becomes a job."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from service.api.body import json_body
from service.api.idempotency import IdempotencyKey, fingerprint, scoped_key
from service.api.limits import text_to_video_spec
from service.api.openapi import POLL_AFTER, REQUEST_ID, json_request, problems
from service.api.polling import announce_poll_interval
from service.api.resources import Held, in_time
from service.api.schemas import TextToVideoRequest, Video

router = APIRouter(tags=["generate"])

ACCEPTED = {
    "description": "Recorded and queued; it will end as completed, failed or cancelled.",
    "headers": {
        **REQUEST_ID,
        **POLL_AFTER,
        "Location": {"description": "Path of the video.", "schema": {"type": "string"}},
        "Idempotent-Replayed": {
            "description": "`true` when the same request was accepted before under the same key.",
            "schema": {"type": "string", "enum": ["true"]},
        },
    },
}


@router.post(
    "/v1/text-to-video",
    status_code=202,
    summary="Make a video from a prompt",
    openapi_extra=json_request(TextToVideoRequest),
    responses={
        202: ACCEPTED,
        **problems(
            "invalid_json",
            "invalid_header",
            "request_timeout",
            "body_too_large",
            "unsupported_media_type",
            "invalid_field",
            "missing_field",
            "unknown_field",
            "unknown_model",
            "idempotency_key_reused",
            "queue_full",
            "redis_unavailable",
        ),
    },
)
async def text_to_video(
    asked: Annotated[TextToVideoRequest, Depends(json_body(TextToVideoRequest))],
    held: Held,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Video:
    """Accepts the job at once; the video follows by polling, by events, or by `content`."""
    key = scoped_key(idempotency_key, "text-to-video")
    spec = text_to_video_spec(asked, held.catalogue)
    accepted = await in_time(held.records.accept(spec, idempotency_key=key, fingerprint=fingerprint(asked)))
    video = Video.of(accepted.job)
    response.headers["Location"] = video.urls.self
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    announce_poll_interval(response, accepted.job)
    return video
