"""`/v1/webhook_endpoints`: who is told when the job of a video or a style has ended."""

import secrets
import time
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Path, Query

from service.api.body import json_body, json_body_or_none
from service.api.errors import ApiError
from service.api.openai_route import OpenAIRoute, refusals
from service.api.openapi import REQUEST_ID, Responses, json_request
from service.api.paging import page_of
from service.api.resources import Held, Resources, in_time
from service.api.webhook_schemas import (
    EventType,
    RotateSecretRequest,
    WebhookDelivery,
    WebhookDeliveryList,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookEndpointDeleted,
    WebhookEndpointList,
    WebhookEndpointRequest,
    WebhookEndpointWithSecret,
    WebhookEventTypeList,
    WebhookTestRequest,
    WebhookTestResult,
)
from service.webhooks.deliveries import Deliveries
from service.webhooks.endpoints import MAX_ENDPOINTS, Endpoint, Endpoints, TooManyEndpoints
from service.webhooks.sending import NotDelivered, event_body, make_client, send
from service.webhooks.targets import TargetRefused, check_url

router = APIRouter(tags=["webhooks"], route_class=OpenAIRoute)
endpoints = APIRouter(prefix="/v1/webhook_endpoints", route_class=OpenAIRoute)

ANSWER: Responses = {200: {"headers": REQUEST_ID}}
UNKNOWN = ("webhook_not_found", "redis_unavailable")
BODY = (
    "invalid_json",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_field",
    "missing_field",
    "unknown_field",
)


def endpoints_of(held: Resources) -> Endpoints:
    return Endpoints(held.records.redis, held.records.account.owner)


async def existing_endpoint(endpoint_id: Annotated[str, Path(description="`we_…`")], held: Held) -> Endpoint:
    endpoint = await in_time(endpoints_of(held).get(endpoint_id))
    if endpoint is None:
        raise ApiError("webhook_not_found", "there is no webhook endpoint with this id", param="endpoint_id")
    return endpoint


Existing = Annotated[Endpoint, Depends(existing_endpoint)]


def check(url: str, held: Resources) -> None:
    """Raises ApiError for a URL that nothing is sent to."""
    if not held.webhook_allow:
        raise ApiError("webhooks_disabled", "the operator of this service has allowed no origins for webhooks")
    try:
        check_url(url, held.webhook_allow)
    except TargetRefused as reason:
        raise ApiError("invalid_field", f"url {reason}", param="url") from None


@endpoints.post(
    "",
    summary="Add a webhook endpoint",
    openapi_extra=json_request(WebhookEndpointRequest),
    responses={**ANSWER, **refusals(*BODY, "webhooks_disabled", "redis_unavailable")},
)
async def create_endpoint(
    asked: Annotated[WebhookEndpointRequest, Depends(json_body(WebhookEndpointRequest))], held: Held
) -> WebhookEndpointWithSecret:
    """It is told of the videos and styles of the same owner. Deliveries are signed after Standard Webhooks with the
    secret in this answer, which is told only once.
    """
    check(asked.url, held)
    await in_time(Deliveries(held.records.redis).prepare())
    try:
        endpoint = await in_time(
            endpoints_of(held).create(
                name=asked.name, url=asked.url, event_types=list(dict.fromkeys(asked.event_types))
            )
        )
    except TooManyEndpoints:
        raise ApiError("invalid_field", f"there may be {MAX_ENDPOINTS} endpoints at most", param="url") from None
    return WebhookEndpointWithSecret.of(endpoint)


@endpoints.get(
    "",
    summary="List webhook endpoints",
    responses={**ANSWER, **refusals("invalid_field", "redis_unavailable")},
)
async def list_endpoints(
    held: Held,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> WebhookEndpointList:
    """The oldest first."""
    endpoints = list(await in_time(endpoints_of(held).all()))
    if after is not None:
        places = [place for place, endpoint in enumerate(endpoints) if endpoint.id == after]
        endpoints = endpoints[places[0] + 1 :] if places else []
    shown = [WebhookEndpoint.of(endpoint) for endpoint in endpoints[: limit + 1]]
    return page_of(WebhookEndpointList, shown, limit)


@endpoints.get("/{endpoint_id}", summary="Look at a webhook endpoint", responses={**ANSWER, **refusals(*UNKNOWN)})
async def get_endpoint(endpoint: Existing) -> WebhookEndpoint:
    return WebhookEndpoint.of(endpoint)


@endpoints.post(
    "/{endpoint_id}",
    summary="Change a webhook endpoint",
    openapi_extra=json_request(WebhookEndpointChange),
    responses={**ANSWER, **refusals(*BODY, *UNKNOWN, "webhooks_disabled")},
)
async def change_endpoint(
    endpoint: Existing, asked: Annotated[WebhookEndpointChange, Depends(json_body(WebhookEndpointChange))], held: Held
) -> WebhookEndpoint:
    if asked.url is not None:
        check(asked.url, held)
    changes: dict[str, object] = {name: value for name, value in asked if value is not None}
    if asked.event_types is not None:
        changes["event_types"] = tuple(dict.fromkeys(asked.event_types))
    return WebhookEndpoint.of(await in_time(endpoints_of(held).change(endpoint, **changes)))


@endpoints.delete("/{endpoint_id}", summary="Remove a webhook endpoint", responses={**ANSWER, **refusals(*UNKNOWN)})
async def delete_endpoint(endpoint: Existing, held: Held) -> WebhookEndpointDeleted:
    """What was still to be delivered to it is dropped."""
    await in_time(endpoints_of(held).delete(endpoint))
    return WebhookEndpointDeleted(id=endpoint.id)


@endpoints.post(
    "/{endpoint_id}/rotate_secret",
    summary="Rotate the signing secret",
    openapi_extra=json_request(RotateSecretRequest, required=False),
    responses={**ANSWER, **refusals(*BODY, *UNKNOWN)},
)
async def rotate_secret(
    endpoint: Existing,
    asked: Annotated[RotateSecretRequest, Depends(json_body_or_none(RotateSecretRequest))],
    held: Held,
) -> WebhookEndpointWithSecret:
    """The old secret ends at once, or signs beside the new one for a day."""
    keep = asked.keep_old_secret_active_for_24_hours
    return WebhookEndpointWithSecret.of(await in_time(endpoints_of(held).rotate(endpoint, keep_old=keep)))


@endpoints.post(
    "/{endpoint_id}/test",
    summary="Send a test event",
    openapi_extra=json_request(WebhookTestRequest, required=False),
    responses={**ANSWER, **refusals(*BODY, *UNKNOWN, "webhooks_disabled", "webhook_unreachable")},
)
async def test_endpoint(
    endpoint: Existing, asked: Annotated[WebhookTestRequest, Depends(json_body_or_none(WebhookTestRequest))], held: Held
) -> WebhookTestResult:
    """Sends an event of a video or style that does not exist, once, now."""
    check(endpoint.url, held)
    event_id = f"evt_test_{secrets.token_hex(12)}"
    kind, _, _ = asked.event_type.partition(".")
    body = event_body(event_id, asked.event_type, int(time.time()), {"id": f"{kind}_test"})
    async with make_client() as client:
        try:
            status_code = await send(client, endpoint, event_id, body, held.webhook_allow)
        except NotDelivered as reason:
            raise ApiError("webhook_unreachable", str(reason)) from None
    return WebhookTestResult(webhook_endpoint_id=endpoint.id, event_type=asked.event_type, status_code=status_code)


@endpoints.get(
    "/{endpoint_id}/deliveries",
    summary="List deliveries",
    responses={**ANSWER, **refusals(*UNKNOWN, "invalid_field")},
)
async def list_deliveries(
    endpoint: Existing, held: Held, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> WebhookDeliveryList:
    """The latest of them, newest first; kept for a week."""
    found = await in_time(Deliveries(held.records.redis).latest(endpoint, limit))
    return WebhookDeliveryList(data=[WebhookDelivery.of(delivery) for delivery in found])


@endpoints.post(
    "/{endpoint_id}/deliveries/{event_id}/redeliver",
    summary="Deliver an event again",
    responses={**ANSWER, **refusals(*UNKNOWN)},
)
async def redeliver(
    endpoint: Existing, event_id: Annotated[str, Path(pattern="^evt_[a-z2-7]{26}$")], held: Held
) -> WebhookDelivery:
    """At once, and with the full schedule of tries."""
    deliveries = Deliveries(held.records.redis)
    delivery = await in_time(deliveries.get(f"{event_id}.{endpoint.id}"))
    if delivery is None:
        raise ApiError("webhook_not_found", "this event was not for this endpoint", param="event_id")
    return WebhookDelivery.of(await in_time(deliveries.redeliver(delivery)))


@router.get("/v1/webhook_event_types", summary="List event types", responses={**ANSWER, **refusals()})
async def list_event_types() -> WebhookEventTypeList:
    """What an endpoint may be told of."""
    return WebhookEventTypeList(data=list(get_args(EventType)))


router.include_router(endpoints)
