"""The OpenAPI document says what the service does."""

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api.app import create_app
from service.api.error_codes import ERRORS
from service.api.schemas import Problem, TextToVideoRequest, Video
from service.settings import Settings

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_document_says_where_keys_are_asked_for(app: FastAPI, settings: Settings) -> None:
    guarded = create_app(settings.model_copy(update={"auth": "keys"})).openapi()
    scheme = guarded["components"]["securitySchemes"]["apiKey"]

    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    asks = {path: "security" in operation for _, path, operation in operations(guarded)}
    assert asks["/v1/videos"] and asks["/v1/files"] and not asks["/livez"]
    assert "open" in app.openapi()["components"]["securitySchemes"]["apiKey"]["description"]
    assert not any("security" in operation for _, _, operation in operations(app.openapi()))


def test_every_route_is_there(document: dict[str, Any]) -> None:
    assert {f"{method.upper()} {path}" for method, path, _ in operations(document)} == {
        "POST /v1/text-to-video",
        "POST /v1/image-to-video",
        "POST /v1/inpaint",
        "POST /v1/cinemagraph",
        "POST /v1/stylize",
        "POST /v1/files",
        "GET /v1/files",
        "GET /v1/files/{file_id}",
        "GET /v1/files/{file_id}/content",
        "DELETE /v1/files/{file_id}",
        "POST /v1/videos",
        "POST /v1/videos/edits",
        "POST /v1/videos/{video_id}/remix",
        "GET /v1/videos",
        "GET /v1/videos/{video_id}",
        "DELETE /v1/videos/{video_id}",
        "POST /v1/videos/{video_id}/cancel",
        "GET /v1/videos/{video_id}/content",
        "GET /v1/videos/{video_id}/link",
        "GET /v1/videos/{video_id}/events",
        "POST /v1/webhook_endpoints",
        "GET /v1/webhook_endpoints",
        "GET /v1/webhook_endpoints/{endpoint_id}",
        "POST /v1/webhook_endpoints/{endpoint_id}",
        "DELETE /v1/webhook_endpoints/{endpoint_id}",
        "POST /v1/webhook_endpoints/{endpoint_id}/rotate_secret",
        "POST /v1/webhook_endpoints/{endpoint_id}/test",
        "GET /v1/webhook_endpoints/{endpoint_id}/deliveries",
        "POST /v1/webhook_endpoints/{endpoint_id}/deliveries/{event_id}/redeliver",
        "GET /v1/webhook_event_types",
        "POST /v1/styles",
        "GET /v1/styles",
        "GET /v1/styles/{style_id}",
        "DELETE /v1/styles/{style_id}",
        "GET /v1/usage",
        "GET /v1/models",
        "GET /v1/models/{model_id}",
        "GET /livez",
        "GET /readyz",
        "GET /",
        "GET /errors",
        "GET /errors/{code}",
    }


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    names = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document))

    assert set(names) <= set(schemas)
    assert '"$ref": "#/$defs' not in json.dumps(document)
    assert "HTTPValidationError" not in schemas


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(set(ids)) == len(ids)
    for method, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["tags"], path
        assert "default" in operation["responses"], path
        for status, response in operation["responses"].items():
            assert response["description"], (method, path, status)
            if status == "default" or int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (method, path, status)


def test_every_error_is_documented_with_a_true_example(document: dict[str, Any]) -> None:
    documented: set[str] = set()
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            for code, example in (
                response.get("content", {}).get("application/problem+json", {}).get("examples", {}).items()
            ):
                assert example == {"$ref": f"#/components/examples/{code}"}
                problem = Problem.model_validate(document["components"]["examples"][code]["value"])
                assert problem.code == code
                assert status in ("default", str(problem.status))
                documented.add(code)

    of_no_operation = {"method_not_allowed", "not_supported", "unknown_host"}  # by definition
    assert documented == set(ERRORS) - of_no_operation


def test_the_body_has_the_models_limits(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/text-to-video"]["post"]["requestBody"]
    schema = document["components"]["schemas"]["TextToVideoRequest"]
    frames = schema["properties"]["num_frames"]["anyOf"][0]

    assert body["required"] is True
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/TextToVideoRequest"}
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["prompt"]
    assert (frames["minimum"], frames["maximum"]) == (8, 80)
    assert schema["properties"]["size"]["anyOf"][0]["enum"] == ["64x64", "128x128", "256x256"]
    assert schema["properties"]["model"]["anyOf"][0]["enum"] == ["lumiere-mini"]
    for example in schema["examples"]:
        TextToVideoRequest.model_validate(example)


def test_the_video_example_is_a_video(document: dict[str, Any]) -> None:
    for example in document["components"]["schemas"]["Video"]["examples"]:
        assert set(example) == set(Video.model_fields)
        Video.model_validate(example)


async def test_it_is_served(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    answer = await client.get("/openapi.json")

    assert answer.json() == document
    assert (
        "text/event-stream" in document["paths"]["/v1/videos/{video_id}/events"]["get"]["responses"]["200"]["content"]
    )
    assert "video/mp4" in document["paths"]["/v1/videos/{video_id}/content"]["get"]["responses"]["200"]["content"]
