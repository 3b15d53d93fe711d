"""One signed POST to one endpoint, to an address that was checked, and nowhere else."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks import Webhook

from service.webhooks.endpoints import Endpoint
from service.webhooks.targets import Origin, TargetRefused, look_up

TIMEOUT_SECONDS = 15.0
USER_AGENT = "lumiere-webhooks"


class NotDelivered(Exception):
    """No answer came; the message says why, without what the network says of itself."""


def event_body(event_id: str, event_type: str, created_at: int, data: dict[str, Any]) -> str:
    """The event as OpenAI's webhooks carry it."""
    event = {"id": event_id, "object": "event", "created_at": created_at, "type": event_type, "data": data}
    return json.dumps(event, separators=(",", ":"))


def signed_headers(event_id: str, body: str, secrets: Iterable[str], now: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks; one signature for each secret."""
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(event_id, now, body) for secret in secrets),
    }


async def send(
    client: httpx.AsyncClient, endpoint: Endpoint, event_id: str, body: str, allowed: Iterable[Origin]
) -> int:
    """The status with which the endpoint answers; redirects are not followed and bodies are not read.

    Raises:
        NotDelivered: the target is refused, or does not answer in time.
    """
    try:
        target = await look_up(endpoint.url, allowed)
    except TargetRefused as reason:
        raise NotDelivered(f"the URL {reason}") from None
    now = datetime.now(UTC)
    headers = signed_headers(event_id, body, endpoint.secrets_at(now.timestamp()), now)
    headers["host"] = target.url.netloc
    request = client.build_request("POST", target.pinned_url, content=body, headers=headers, timeout=TIMEOUT_SECONDS)
    request.extensions["sni_hostname"] = target.url.hostname
    try:
        response = await client.send(request, stream=True, follow_redirects=False)
        await response.aclose()
    except httpx.TimeoutException:
        raise NotDelivered(f"no answer within {TIMEOUT_SECONDS:g} seconds") from None
    except httpx.HTTPError as error:
        raise NotDelivered(f"no answer: {type(error).__name__}") from None
    return response.status_code


def make_client() -> httpx.AsyncClient:
    """Proxies and certificates of the environment are none of these requests' business."""
    return httpx.AsyncClient(trust_env=False, follow_redirects=False)
