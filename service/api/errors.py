"""How a refusal travels: as one exception inside, as one JSON shape outside, and how foreign errors become one.

Errors are RFC 9457 problems (`application/problem+json`) with a stable `code`, the `param` at fault, whether the same
request may succeed later (`retryable`) and the `request_id`. Neither message nor field ever repeats the client's input.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.api.error_codes import ERRORS
from service.api.request_id import request_id_of
from service.jobs.admission import QuotaExceeded
from service.jobs.connection import RedisFull, RedisUnavailable
from service.jobs.record import IdempotencyConflict, QueueFull
from service.storage import StorageError

RETRY_AFTER_LIMIT = 120
"""Seconds; OpenAI's clients give up when `Retry-After` asks for more."""
CONFLICT = 409
QUEUE_RETRY_SECONDS = 15
OUTAGE_RETRY_SECONDS = 2
MAX_LISTED_ERRORS = 16
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,63}")


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field; `param` is its name, or None where the name itself cannot be repeated."""

    code: str
    param: str | None
    detail: str


class ApiError(Exception):
    """An expected refusal. `code` is a key of `ERRORS`, `extra` joins the body, `headers` the response."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = ERRORS[code]
        self.status = self.kind.status
        self.detail = detail
        self.param = param
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(min(RETRY_AFTER_LIMIT, max(1, round(retry_after))))

    @classmethod
    def of_fields(cls, errors: Iterable[FieldError]) -> "ApiError":
        """One error that names the first bad field and lists them all."""
        listed = list(errors)
        first = listed[0]
        rows = [{"code": e.code, "param": e.param, "detail": e.detail} for e in listed[:MAX_LISTED_ERRORS]]
        return cls(first.code, first.detail, param=first.param, extra={"errors": rows})

    @classmethod
    def of_validation(cls, errors: Iterable[ErrorDetails]) -> "ApiError":
        return cls.of_fields(field_error(error) for error in errors)


def field_error(error: ErrorDetails) -> FieldError:
    """One pydantic error without the input that caused it."""
    names = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
    name = ".".join(names)
    param = name if PLAIN_NAME.fullmatch(name) else None
    subject = param or "a field"
    match error["type"]:
        case "missing":
            return FieldError("missing_field", param, f"{subject} is required")
        case "extra_forbidden":
            return FieldError("unknown_field", param, f"{subject} is not a field of this request")
        case "fields_conflict":
            return FieldError("fields_conflict", param, f"{subject}: {error['msg']}")
        case "model_type":
            return FieldError("invalid_field", param, f"{subject} must be an object")
        case "value_error":
            return FieldError("invalid_field", param, f"{subject} {error['ctx']['error']}")
        case _:
            return FieldError("invalid_field", param, f"{subject}: {error['msg']}")


def problem(request_id: str, error: ApiError) -> JSONResponse:
    """The RFC 9457 response, with the `error` that OpenAI's clients read. `type` is a path of this service."""
    kind = error.kind
    body = {
        "type": f"/errors/{kind.code}",
        "title": kind.title,
        "status": error.status,
        "detail": error.detail,
        "code": kind.code,
        "param": error.param,
        "retryable": kind.retryable,
        "request_id": request_id,
        "error": {
            "message": error.detail,
            "type": openai_type(error.status),
            "param": error.param,
            "code": kind.code,
        },
        **error.extra,
    }
    headers = {"Cache-Control": "no-store", **error.headers}
    if error.status == CONFLICT:
        headers.setdefault("x-should-retry", "false")  # OpenAI's clients would repeat it
    return JSONResponse(body, error.status, headers, media_type="application/problem+json")


def openai_type(status: int) -> str:
    """The class of an error as OpenAI's API names it."""
    names = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return "server_error" if status >= 500 else names.get(status, "invalid_request_error")


def translate(error: Exception) -> ApiError:
    """The refusal that an exception from below stands for. The only place that knows the exceptions of other parts."""
    match error:
        case ApiError():
            return error
        case RequestValidationError():
            return ApiError.of_validation(error.errors())
        case QueueFull():
            return ApiError("queue_full", f"{error.queued} jobs are waiting", retry_after=QUEUE_RETRY_SECONDS)
        case QuotaExceeded():
            return quota_refusal(error)
        case IdempotencyConflict():
            return ApiError("idempotency_key_reused", "the key came with other fields before", param="Idempotency-Key")
        case RedisFull():
            return ApiError("redis_unavailable", "the job store is full", retry_after=OUTAGE_RETRY_SECONDS)
        case RedisUnavailable():
            return ApiError("redis_unavailable", "the job store does not answer", retry_after=OUTAGE_RETRY_SECONDS)
        case StorageError():
            return ApiError("storage_unavailable", "the storage does not answer", retry_after=OUTAGE_RETRY_SECONDS)
        case HTTPException(status_code=404):
            return ApiError("not_found", "this path names nothing here")
        case _:
            return ApiError("internal_error", "a defect of the service; its log has the request_id")


def quota_refusal(error: QuotaExceeded) -> ApiError:
    limit = next(limit for limit in error.limits if limit.name == error.name)
    match error.name:
        case "requests":
            detail = f"this API key may ask for {limit.limit:g} jobs per minute"
        case "cost":
            detail = f"this API key may have {limit.limit:g} megapixels denoised per hour"
        case _:
            detail = f"this API key may have {limit.limit:g} jobs waiting or running"
            return ApiError("too_many_jobs", detail, retry_after=QUEUE_RETRY_SECONDS)
    return ApiError("quota_exceeded", detail, retry_after=error.retry_seconds)


EXPECTED = (
    ApiError,
    RequestValidationError,
    QueueFull,
    QuotaExceeded,
    IdempotencyConflict,
    RedisUnavailable,
    StorageError,
    HTTPException,
)


def install_handlers(app: FastAPI) -> None:
    """Answers every expected exception as a problem; all others pass on to `AccessLog`."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return problem(request_id_of(request.scope), translate(error))

    async def answer_405(request: Request, error: Exception) -> JSONResponse:
        refusal = ApiError(
            "method_not_allowed",
            "this path does not take the method",
            headers={"Allow": ", ".join(allowed_methods(request))},
        )
        return problem(request_id_of(request.scope), refusal)

    for kind in EXPECTED:
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(405, answer_405)


def allowed_methods(request: Request) -> list[str]:
    """All methods of the path; Starlette's own `Allow` knows those of one route only.

    A path that is documented as it stands has no ids in it: `/v1/videos/edits` is no video.
    """
    documented = request.app.openapi()["paths"].get(request.scope["path"])

    def is_taken(method: str) -> bool:
        probe = {**request.scope, "method": method}
        known = documented is None or method == "HEAD" or method.lower() in documented
        return known and any(route.matches(probe)[0] is Match.FULL for route in request.app.router.routes)

    return [method for method in METHODS if is_taken(method)]
