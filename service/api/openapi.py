"""Makes the OpenAPI document say what the service does: bodies with the models' limits, every error with an example."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from service.access.scopes import needed_scope
from service.api.error_codes import ERRORS
from service.api.errors import ApiError, problem
from service.api.file_schemas import FileRequest
from service.api.openai_requests import (
    SHORT_NAMES,
    TASKS,
    CreateVideoRequest,
    EditVideoRequest,
    RemixVideoRequest,
)
from service.api.schemas import Problem, TextToVideoRequest, Video, VideoRequest
from service.api.style_schemas import StyleRequest
from service.api.task_options import TASK_OF
from service.api.webhook_schemas import (
    RotateSecretRequest,
    WebhookEndpointChange,
    WebhookEndpointRequest,
    WebhookTestRequest,
)
from service.jobs.models import ModelCard
from service.settings import Settings

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
    FileRequest,
    StyleRequest,
    WebhookEndpointRequest,
    WebhookEndpointChange,
    RotateSecretRequest,
    WebhookTestRequest,
    Video,
    Problem,
)
"""What FastAPI does not see, or (Video) copies without the nulls of its example."""
OPENAI_FIELDS = frozenset(
    {
        "prompt",
        "model",
        "seconds",
        "size",
        "input_reference",
        "seed",
        "negative_prompt",
        "num_inference_steps",
        "guidance_scale",
        "guidance_rescale",
        "guidance_interval",
        "scheduler",
        "priority",
        "metadata",
    }
)
"""That make a video without any field of a task."""
UNIONS: dict[type[BaseModel], tuple[str, ...]] = {
    CreateVideoRequest: tuple(TASKS),
    EditVideoRequest: ("stylize", "inpaint"),
}
"""Requests that stand for one of several tasks."""
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


def install_openapi(app: FastAPI, catalogue: Mapping[str, ModelCard], settings: Settings) -> None:
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
            for union, tasks in UNIONS.items():
                schemas[union.__name__] = one_of_tasks(schemas, union, tasks)
            limit_model(schemas[StyleRequest.__name__]["properties"], catalogue)
            limit_prompt(schemas[RemixVideoRequest.__name__]["properties"], catalogue)
            for name in (WebhookEndpointRequest.__name__, WebhookEndpointChange.__name__):
                limit_url(schemas[name]["properties"], settings.webhook_allow)
            without_null_parameters(document)
            tell_keys(document, required=settings.keys_required)
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
    limit_prompt(properties, catalogue)
    schedulers = dict.fromkeys(name for limit in limits for name in limit.schedulers)
    properties["scheduler"]["anyOf"][0] = {"type": "string", "enum": list(schedulers)}
    sizes = dict.fromkeys(size for limit in limits for size in limit.sizes)
    properties["size"]["anyOf"][0] = {"type": "string", "enum": list(sizes)}
    limit_model(properties, catalogue)
    if "style" in properties:
        styles = dict.fromkeys(style for card in catalogue.values() for style in card.styles)
        learned = {"type": "string", "pattern": "^style_[a-z2-7]{26}$"}
        properties["style"]["anyOf"] = [{"enum": [*styles, None]}, learned]
    if "seconds" in properties:
        properties["seconds"]["anyOf"] = lengths(catalogue.values())


def limit_model(properties: dict[str, Any], catalogue: Mapping[str, ModelCard]) -> None:
    properties["model"]["anyOf"][0] = {"type": "string", "enum": list(catalogue)}


def limit_prompt(properties: dict[str, Any], catalogue: Mapping[str, ModelCard]) -> None:
    for field in {"prompt", "negative_prompt"} & properties.keys():
        properties[field]["maxLength"] = max(card.limits.prompt_characters for card in catalogue.values())


def lengths(cards: Iterable[ModelCard]) -> list[dict[str, Any]]:
    """What `seconds` may be at the default frame rate."""
    ranges = [[frames / card.defaults.fps for frames in card.limits.num_frames] for card in cards]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    whole = [str(seconds) for seconds in range(math.ceil(low), math.floor(high) + 1)]
    texts = [{"type": "string", "enum": whole}] if whole else []
    return [{"type": "number", "minimum": low, "maximum": high}, *texts, {"type": "null"}]


def one_of_tasks(schemas: Mapping[str, Any], request: type[BaseModel], tasks: Iterable[str]) -> dict[str, Any]:
    """A request of OpenAI's API: its own few fields, or those of one of the tasks."""
    whole = schemas[request.__name__]
    variants = []
    if "video" not in whole["required"]:
        fields = {name: schema for name, schema in whole["properties"].items() if name in OPENAI_FIELDS}
        variants.append({**whole, "title": "OpenAI", "properties": fields})
    for task in tasks:
        native = schemas[TASKS[task].__name__]
        names = [task, *(short for short, name in SHORT_NAMES.items() if name == task)]
        properties = {**native["properties"], "task": {"enum": [*names, None], "description": "May be left out."}}
        required = sorted({*native["required"], *whole["required"]})
        if "video" in whole["required"]:
            properties["video"] = whole["properties"]["video"]
        variants.append({**native, "title": task, "properties": properties, "required": required})
    return {"description": whole.get("description", ""), "anyOf": variants}


def limit_url(properties: dict[str, Any], webhook_allow: Iterable[str]) -> None:
    origins = "|".join(re.escape(origin.rstrip("/")) for origin in webhook_allow)
    if origins:
        schema = properties["url"].get("anyOf", [properties["url"]])[0]
        schema["pattern"] = f"^({origins})(/[A-Za-z0-9._~/-]*)?$"


def tell_keys(document: dict[str, Any], *, required: bool) -> None:
    """Says which routes ask for an API key; none of a gateway in open mode does."""
    asked = "Made by `lumiere keys create`." if required else "This gateway is open: it asks for no key and reads none."
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "lum_<id>_<secret>", "description": asked}
    document["components"]["securitySchemes"] = {"apiKey": scheme}
    if not required:
        return
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if needed_scope(method.upper(), path) is not None:
                operation["security"] = [{"apiKey": []}]


def without_null_parameters(document: dict[str, Any]) -> None:
    """A parameter of the URL or the headers that is not given is left out; there is no null among texts."""
    for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            given = [part for part in schema.get("anyOf", ()) if part != {"type": "null"}]
            if len(given) == 1:
                del schema["anyOf"]
                schema.update(given[0])
