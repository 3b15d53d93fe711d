"""Webhook endpoints as they travel over HTTP: the shapes of OpenAI's API, and the list of deliveries besides."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from service.api.paging import Listing, Page
from service.api.schemas import RequestPart, Words
from service.webhooks.deliveries import Delivery
from service.webhooks.endpoints import Endpoint

EventType = Literal[
    "video.completed", "video.failed", "video.cancelled", "style.completed", "style.failed", "style.cancelled"
]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=16)]
Name = Annotated[Words, Field(max_length=200)]
Url = Annotated[str, Field(max_length=2000, description="An https URL whose origin the operator has allowed.")]


class WebhookEndpointRequest(RequestPart):
    """Body of `POST /v1/webhook_endpoints`."""

    name: Name
    url: Url
    event_types: EventTypes


class WebhookEndpointChange(RequestPart):
    """Body of `POST /v1/webhook_endpoints/{id}`: what is left out stays."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None


class RotateSecretRequest(RequestPart):
    keep_old_secret_active_for_24_hours: bool = False


class WebhookTestRequest(RequestPart):
    event_type: EventType = "video.completed"


class WebhookEndpoint(BaseModel):
    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[str]
    created_at: int
    updated_at: int
    signing_secret_hint: str

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        return cls.model_validate(shown(endpoint))


class WebhookEndpointWithSecret(WebhookEndpoint):
    """The only time that the secret is told."""

    signing_secret: str

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        return cls.model_validate({**shown(endpoint), "signing_secret": endpoint.secret})


def shown(endpoint: Endpoint) -> dict[str, object]:
    fields = endpoint.model_dump(include={"id", "name", "url", "created_at", "updated_at"})
    hint = f"whsec_…{endpoint.secret[-4:]}"
    return {**fields, "event_types": list(endpoint.event_types), "signing_secret_hint": hint}


class WebhookEndpointList(Page[WebhookEndpoint]):
    pass


class WebhookEndpointDeleted(BaseModel):
    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class WebhookTestResult(BaseModel):
    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    success: Literal[True] = True
    status_code: int = Field(description="What the endpoint answered.")


class WebhookDelivery(BaseModel):
    """One event for one endpoint, and how it went."""

    object: Literal["webhook_endpoint.delivery"] = "webhook_endpoint.delivery"
    event_id: str
    event_type: str
    status: Literal["pending", "delivered", "failed"]
    tries: int
    created_at: int
    last_tried_at: int | None
    last_status_code: int | None
    last_error: str | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        fields = delivery.model_dump(exclude={"endpoint_id", "body"})
        for name in ("last_tried_at", "last_status_code", "last_error"):
            fields[name] = fields[name] or None
        return cls.model_validate(fields)


class WebhookDeliveryList(Listing[WebhookDelivery]):
    pass


class WebhookEventTypeList(Listing[EventType]):
    pass
