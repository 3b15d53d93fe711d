"""`POST /v1/text-to-video`: a prompt becomes a job."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from service.api.accepting import accept_video
from service.api.body import json_body
from service.api.inputs import InputTaker
from service.api.limits import text_to_video_spec
from service.api.openapi import POLL_AFTER, REQUEST_ID, json_request, problems
from service.api.resources import Held
from service.api.schemas import TextToVideoRequest, Video
from service.api.terms import Agreed
from service.jobs.contract import JobSpec

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
    "idempotency_key_reused",
    "invalid_api_key",
    "missing_scope",
    "quota_exceeded",
    "too_many_jobs",
    "queue_full",
    "redis_unavailable",
)


@router.post(
    "/v1/text-to-video",
    status_code=202,
    summary="Make a video from a prompt",
    openapi_extra=json_request(TextToVideoRequest),
    responses={202: ACCEPTED, **problems(*REFUSALS)},
)
async def text_to_video(
    asked: Annotated[TextToVideoRequest, Depends(json_body(TextToVideoRequest))],
    held: Held,
    response: Response,
    terms: Agreed,
) -> Video:
    """Accepts the job at once; the video follows by polling, by events, or by `content`."""

    async def make_spec(_: InputTaker) -> JobSpec:
        return text_to_video_spec(asked, held.catalogue)

    return await accept_video(held, response, terms, asked, make_spec, InputTaker(held, {}))
