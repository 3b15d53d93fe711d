"""Every error code that a client can meet, in two tables: those of requests and those of failed jobs.

`docs/errors.md` shows the same tables; a test compares them.
"""

from dataclasses import dataclass

from service.jobs.contract import ErrorCode


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table: what a client may rely on."""

    code: str
    status: int
    retryable: bool
    title: str
    meaning: str


ERRORS: dict[str, ErrorKind] = {
    kind.code: kind
    for kind in (
        ErrorKind(
            "invalid_json",
            400,
            False,
            "The body is not acceptable JSON",
            "Not UTF-8, not JSON, not an object, a key given twice, a number out of range, NaN or Infinity, "
            "an unpaired surrogate, or nested too deeply.",
        ),
        ErrorKind(
            "invalid_form",
            400,
            False,
            "The form is malformed",
            "Not multipart, more than 40 files or 200 fields, a field given twice, or a name that makes no sense.",
        ),
        ErrorKind(
            "not_supported",
            400,
            False,
            "This service does not do that",
            "A part of OpenAI's Videos API that this model has no means for; `detail` says why.",
        ),
        ErrorKind("invalid_header", 400, False, "A request header is malformed", "`param` names the header."),
        ErrorKind(
            "invalid_api_key",
            401,
            False,
            "No valid API key",
            "There is none, or it is unknown, expired or revoked: `Authorization: Bearer lum_…`.",
        ),
        ErrorKind("missing_scope", 403, False, "The API key may not do this", "`detail` names the scope it lacks."),
        ErrorKind(
            "webhooks_disabled",
            403,
            False,
            "Webhooks are off",
            "The operator has allowed no origins: `LUMIERE_WEBHOOK_ALLOW`.",
        ),
        ErrorKind("webhook_not_found", 404, False, "No such webhook endpoint", "Or no such delivery to it."),
        ErrorKind(
            "webhook_unreachable",
            424,
            False,
            "The endpoint did not answer",
            "The test event could not be delivered; `detail` says why.",
        ),
        ErrorKind("not_found", 404, False, "No such resource", "The path names nothing that this service has."),
        ErrorKind(
            "video_not_found",
            404,
            False,
            "No such video",
            "The id is malformed, was never given, was deleted or is past retention.",
        ),
        ErrorKind(
            "file_not_found",
            404,
            False,
            "No such file",
            "The id is malformed, was never given, was deleted or is past retention, or its file is no video.",
        ),
        ErrorKind(
            "style_not_found", 404, False, "No such style", "The id or name was never given, or the style was deleted."
        ),
        ErrorKind("model_not_found", 404, False, "No such model", "`GET /v1/models` lists those that there are."),
        ErrorKind(
            "video_has_no_content",
            404,
            False,
            "The video has no content",
            "Its job failed or was cancelled; the video object says why.",
        ),
        ErrorKind("method_not_allowed", 405, False, "Method not allowed", "`Allow` lists the methods of this path."),
        ErrorKind("request_timeout", 408, True, "The body did not arrive in time", "The client stopped sending."),
        ErrorKind(
            "fields_conflict",
            409,
            False,
            "Fields contradict each other",
            "Each of them could be, but not together: a keyframe behind the end, a box that ends before it begins.",
        ),
        ErrorKind(
            "style_name_taken",
            409,
            False,
            "The name belongs to another style",
            "One of the model's, or one of yours that was learned from another picture.",
        ),
        ErrorKind(
            "style_not_ready",
            409,
            True,
            "The style is not finished",
            "Its job is queued or in progress; try again after `Retry-After` seconds or follow the events.",
        ),
        ErrorKind(
            "video_not_ready",
            409,
            True,
            "The video is not finished",
            "Its job is queued or in progress; try again after `Retry-After` seconds or follow the events.",
        ),
        ErrorKind(
            "video_still_running",
            409,
            True,
            "The video is still being made",
            "Its job was told to stop and does so within one denoising step; repeat after `Retry-After` seconds.",
        ),
        ErrorKind(
            "video_expired",
            410,
            False,
            "The video is no longer stored",
            "Its file was removed; the job record remains.",
        ),
        ErrorKind(
            "invalid_link",
            403,
            False,
            "The link is not valid",
            "It has expired, or is not as it was given: the path and all parameters are signed.",
        ),
        ErrorKind(
            "unknown_host",
            421,
            False,
            "The name is none of this gateway",
            "Without API keys, on a loopback address, only addresses and `localhost` are answered, and the names of "
            "`LUMIERE_ALLOWED_HOSTS`.",
        ),
        ErrorKind(
            "body_too_large",
            413,
            False,
            "The body is too large",
            "`detail` has the limit: 262,144 bytes of JSON, 32 MiB where it may hold data URLs, more in a form.",
        ),
        ErrorKind("file_too_large", 413, False, "A file is too large", "`param` names it, `detail` the limit."),
        ErrorKind(
            "unsupported_media_type",
            415,
            False,
            "Unsupported media type",
            "Send `Content-Type: application/json`, not compressed; routes that take files also take "
            "`multipart/form-data`.",
        ),
        ErrorKind(
            "range_not_satisfiable",
            416,
            False,
            "The range lies outside the video",
            "`Content-Range` gives the size in bytes.",
        ),
        ErrorKind(
            "invalid_field",
            422,
            False,
            "A field has an unacceptable value",
            "`param` names the field, `detail` its limit.",
        ),
        ErrorKind(
            "unsupported_media",
            422,
            False,
            "A file is no image or video that is taken",
            "Its bytes decide, not its name: PNG, JPEG, WebP, MP4, MOV, WebM or Matroska.",
        ),
        ErrorKind("missing_field", 422, False, "A required field is missing", "`param` names the field."),
        ErrorKind(
            "unknown_field", 422, False, "A field is not known", "`param` names the field; nothing is ignored silently."
        ),
        ErrorKind(
            "unknown_model", 422, False, "The model is not known", "`GET /v1/models` lists those that there are."
        ),
        ErrorKind(
            "unsupported_task",
            422,
            False,
            "The model does not do this task",
            "`detail` names the tasks that there are; `GET /v1/models` lists them.",
        ),
        ErrorKind(
            "idempotency_key_reused",
            422,
            False,
            "The idempotency key belongs to another request",
            "The same `Idempotency-Key` came with other fields before.",
        ),
        ErrorKind(
            "quota_exceeded",
            429,
            True,
            "A quota of the API key is used up",
            "`x-ratelimit-*` say what is left of each; try again after `Retry-After` seconds.",
        ),
        ErrorKind(
            "too_many_jobs",
            429,
            True,
            "The API key has too many jobs",
            "So many may wait or run at once; try again when one of them has ended.",
        ),
        ErrorKind("queue_full", 429, True, "The queue is full", "Try again after `Retry-After` seconds."),
        ErrorKind("internal_error", 500, False, "Internal error", "A defect of the service; report the `request_id`."),
        ErrorKind(
            "redis_unavailable",
            503,
            True,
            "The job store does not answer",
            "Redis is down, loading, or refuses to write. A job may have been accepted before the answer was lost: "
            "repeat with the same `Idempotency-Key`.",
        ),
        ErrorKind(
            "storage_unavailable",
            503,
            True,
            "The video storage does not answer",
            "Try again after `Retry-After` seconds.",
        ),
        ErrorKind("not_ready", 503, True, "The service is not ready", "`checks` says which part is not, and why."),
    )
}

JOB_ERRORS: dict[ErrorCode, str] = {
    ErrorCode.WORKER_CRASHED: "Every attempt ended with a crash of its worker.",
    ErrorCode.TIMED_OUT: "The job ran, or stood still, longer than the service allows.",
    ErrorCode.OUT_OF_MEMORY: "The device had too little memory for this size, length and model.",
    ErrorCode.INVALID_OUTPUT: "The model gave no proper frames (NaN, none), or they could not be encoded.",
    ErrorCode.INVALID_REQUEST: "The model refused a value that the gateway had let through.",
    ErrorCode.MODEL_UNAVAILABLE: "The worker that took the job does not hold the model.",
    ErrorCode.STORAGE_FULL: "No space was left for the video.",
    ErrorCode.STORAGE_UNAVAILABLE: "The video storage did not answer.",
    ErrorCode.CANCELLED: "The job was cancelled.",
    ErrorCode.INTERNAL_ERROR: "A defect of the service; its log has the details.",
}


def markdown() -> str:
    """The page `docs/errors.md`: `python -m service.api.error_codes > docs/errors.md`."""
    requests = [
        f"| `{e.code}` | {e.status} | {yes_no(e.retryable)} | {e.title}. {e.meaning} |" for e in ERRORS.values()
    ]
    jobs = [f"| `{code}` | {meaning} |" for code, meaning in JOB_ERRORS.items()]
    return "\n".join([INTRODUCTION, *requests, JOBS_INTRODUCTION, *jobs]) + "\n"


def yes_no(value: bool) -> str:
    return "yes" if value else "no"


INTRODUCTION = """# Errors

Every refused request is answered with an `application/problem+json` body after RFC 9457:

```json
{
  "type": "/errors/invalid_field",
  "title": "A field has an unacceptable value",
  "status": 422,
  "detail": "num_frames must be from 8 to 80 with lumiere-mini",
  "code": "invalid_field",
  "param": "num_frames",
  "retryable": false,
  "request_id": "req_5f0c8e6d2b9a4c7d8e1f2a3b",
  "errors": [
    {"code": "invalid_field", "param": "num_frames", "detail": "num_frames must be from 8 to 80 with lumiere-mini"}
  ]
}
```

Branch on `code`: codes never change their meaning. `param` names the field or header at fault, `errors` lists every bad
field. `retryable` says whether the same request may succeed later; `Retry-After` then gives the seconds, at most 120.
`request_id` is also the header `x-request-id` of every response; a client may choose it. `type` is a path of the
service that describes the code.

## Requests

| code | status | retryable | meaning |
|---|---|---|---|"""

JOBS_INTRODUCTION = """
## Failed jobs

A job that fails or is cancelled is no refused request: its video object is a 200 with `status` `failed` or `cancelled`
and an `error` that holds one of these codes, a message, and whether the same request may succeed when it is sent again.

| code | meaning |
|---|---|"""


if __name__ == "__main__":
    print(markdown(), end="")
