"""A client's side of a job's events: server-sent events as pairs of id and data."""

import json
from collections.abc import Iterator
from typing import Any

import httpx


def follow(url: str, job_id: str, last_event_id: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a job until the stream ends. Raises httpx.TransportError when it breaks off."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    address = f"{url}/v1/videos/{job_id}/events"
    with httpx.stream("GET", address, headers=headers, timeout=30.0, trust_env=False) as answer:
        answer.raise_for_status()
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if not line:
                if "data" in fields:
                    yield fields["id"], json.loads(fields["data"])
                fields = {}
