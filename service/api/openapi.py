"""Makes the OpenAPI document say what the service does: bodies with the models' limits, every error with an example."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from service.api.error_codes import ERRORS
from service.api.errors import ApiError, problem
from service.api.file_schemas import FileRequest
from service.api.openai_requests import (
    CreateCharacterRequest,
    CreateVideoRequest,
    EditVideoRequest,
    ExtendVideoRequest,
    RemixVideoRequest,
)
from service.api.schemas import Problem, TextToVideoRequest, Video, VideoRequest
from service.api.task_options import TASK_OF
from service.api.webhook_schemas import (
    RotateSecretRequest,
    WebhookEndpointChange,
    WebhookEndpointRequest,
    WebhookTestRequest,
)
from service.jobs.models import ModelCard

Responses = dict[int | str, dict[str, Any]]

REQUESTS: tuple[type[VideoRequest], ...] = (TextToVideoRequest, *TASK_OF)
"""Of all tasks."""
BOUNDED: tuple[type[VideoRequest], ...] = (*REQUESTS, CreateVideoRequest, EditVideoRequest)
"""Whose schemas get the models' limits."""
DESCRIBED: tuple[type[BaseModel], ...] = (
    *REQUESTS,
    CreateVideoRequest,
    EditVideoRequest,
    RemixVideoRequest,
    ExtendVideoRequest,
    CreateCharacterRequest,
    FileRequest,
    WebhookEndpointRequest,
    WebhookEndpointChange,
    RotateSecretRequest,
    WebhookTestRequest,
    Video,
    Problem,
)
"""What FastAPI does not see, or (Video) copies without the nulls of its example."""
SCHEMA = "#/components/schemas/{model}"
EXAMPLE = "#/components/examples/{code}"
REQUEST_ID = {"x-request-id": {"description": "Names this request in the log.", "schema": {"type": "string"}}}
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait, 120 at most.", "schema": {"type": "integer"}}}
POLL_AFTER = {
    "openai-poll-after-ms": {
        "description": "A good interval between two looks, in milliseconds; absent when nothing will change any more.",
        "schema": {"type": "integer"},
    }
}


def json_request(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body with `json_body(model)`."""
    schema = {"$ref": SCHEMA.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def form_request(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body with `task_body(model)`."""
    content = {"schema": {"$ref": SCHEMA.format(model=model.__name__)}}
    return {"requestBody": {"required": True, "content": {"application/json": content, "multipart/form-data": content}}}


def problems(*codes: str, instead: Mapping[int, int] | None = None) -> Responses:
    """`responses` of a route that can answer with these codes; one entry per status, one example per code.

    instead: statuses that this route answers with in place of those of the table.
    """
    responses: Responses = {"default": problem_response("Any other error", ["internal_error"])}
    moved = instead or {}
    statuses = {code: moved.get(ERRORS[code].status, ERRORS[code].status) for code in codes}
    for status in sorted(set(statuses.values())):
        same_status = [code for code in codes if statuses[code] == status]
        shown = [code for code in same_status if ERRORS[code].status == status]  # an example states its own status
        response = problem_response("; ".join(ERRORS[code].title for code in same_status), shown)
        if any(ERRORS[code].retryable for code in same_status):
            response["headers"] = {**REQUEST_ID, **RETRY_AFTER}
        responses[status] = response
    return responses


def problem_response(description: str, codes: Iterable[str]) -> dict[str, Any]:
    examples = {code: {"$ref": EXAMPLE.format(code=code)} for code in codes}
    schema = {"$ref": SCHEMA.format(model=Problem.__name__)}
    content = {"application/problem+json": {"schema": schema, "examples": examples}}
    return {"description": description, "headers": REQUEST_ID, "content": content}


def example_problem(code: str) -> dict[str, Any]:
    response = problem("req_0123456789abcdef01234567", ApiError(code, ERRORS[code].meaning))
    return {"summary": ERRORS[code].title, "value": json.loads(bytes(response.body))}


def install_openapi(app: FastAPI, catalogue: Mapping[str, ModelCard]) -> None:
    """Adds to the generated document what FastAPI cannot see."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for model in DESCRIBED:
                schema = model.model_json_schema(
                    ref_template=SCHEMA, mode="serialization" if model is Video else "validation"
                )
                schemas.update(schema.pop("$defs", {}))
                schemas[model.__name__] = schema
            document["components"]["examples"] = {code: example_problem(code) for code in ERRORS}
            for request in BOUNDED:
                narrow(schemas[request.__name__]["properties"], catalogue)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def narrow(properties: dict[str, Any], catalogue: Mapping[str, ModelCard]) -> None:
    """Puts the limits into the request's schema: the widest, where several models differ."""
    limits = [card.limits for card in catalogue.values()]
    for field in ("num_frames", "fps", "num_inference_steps", "guidance_scale"):
        ranges = [getattr(limit, field) for limit in limits]
        number = properties[field]["anyOf"][0]
        number["minimum"] = min(low for low, _ in ranges)
        number["maximum"] = max(high for _, high in ranges)
    for field in ("prompt", "negative_prompt"):
        properties[field]["maxLength"] = max(limit.prompt_characters for limit in limits)
    sizes = dict.fromkeys(size for limit in limits for size in limit.sizes)
    properties["size"]["anyOf"][0] = {"type": "string", "enum": list(sizes)}
    properties["model"]["anyOf"][0] = {"type": "string", "enum": list(catalogue)}
