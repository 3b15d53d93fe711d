"""`POST /v1/text-to-video`: a prompt becomes a job."""

from functools import partial

from fastapi import APIRouter, Request, Response

from service.api.accepting import accept_video
from service.api.body import json_body
from service.api.inputs import InputTaker
from service.api.openapi import POLL_AFTER, REQUEST_ID, json_request, problems
from service.api.plain_route import PlainRoute
from service.api.resources import resources_of
from service.api.schemas import TextToVideoRequest, Video
from service.api.task_options import spec_with_inputs
from service.api.terms import TERMS, terms_of

router = APIRouter(tags=["generate"], route_class=PlainRoute)

ACCEPTED = {
    "model": Video,
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

REFUSALS = (
    "invalid_json",
    "invalid_header",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_field",
    "missing_field",
    "unknown_field",
    "unknown_model",
    "unsupported_task",
    "style_not_found",
    "style_not_ready",
    "idempotency_key_reused",
    "invalid_api_key",
    "missing_scope",
    "quota_exceeded",
    "too_many_jobs",
    "queue_full",
    "redis_unavailable",
)
WITH_FILES = (
    *REFUSALS,
    "invalid_form",
    "file_not_found",
    "video_not_found",
    "video_has_no_content",
    "fields_conflict",
    "video_not_ready",
    "file_too_large",
    "unsupported_media",
    "storage_unavailable",
)
"""Of routes whose requests may bring files."""
read_request = json_body(TextToVideoRequest)


@router.post(
    "/v1/text-to-video",
    status_code=202,
    summary="Make a video from a prompt",
    openapi_extra={**json_request(TextToVideoRequest), **TERMS},
    responses={202: ACCEPTED, **problems(*REFUSALS)},
)
async def text_to_video(request: Request) -> Response:
    """Accepts the job at once; the video follows by polling, by events, or by `content`."""
    asked = await read_request(request)
    held = await resources_of(request)
    terms = await terms_of(request)
    make_spec = partial(spec_with_inputs, asked, held.catalogue)
    return await accept_video(held, terms, asked, make_spec, InputTaker(held, {}))
