"""What an API key may be allowed to do, and which of it a request needs."""

from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    """`admin` allows everything, on everybody's objects."""

    VIDEOS_READ = "videos:read"
    VIDEOS_WRITE = "videos:write"
    FILES = "files"
    WEBHOOKS = "webhooks"
    PRIORITY = "priority"
    METRICS = "metrics"
    ADMIN = "admin"


DEFAULT_SCOPES = (Scope.VIDEOS_READ, Scope.VIDEOS_WRITE, Scope.FILES, Scope.WEBHOOKS)
"""Of a key that is made without naming any."""

PUBLIC = ("/livez", "/readyz", "/docs", "/openapi.json", "/errors", "/playground")
"""Answered without a key, with all that lies below; so is `/` itself. They tell nothing about jobs."""

NEEDS = (
    ("/metrics", Scope.METRICS),
    ("/v1/files", Scope.FILES),
    ("/v1/uploads", Scope.FILES),
    ("/v1/webhook_endpoints", Scope.WEBHOOKS),
    ("/v1/webhook_event_types", Scope.WEBHOOKS),
)
READS = ("GET", "HEAD", "OPTIONS")


def below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def needed_scope(method: str, path: str) -> Scope | None:
    """What a key must allow for this request; None where no key is needed.

    A route that is not in the tables needs `videos:read` or `videos:write`, so that a new one is never open by mistake.
    """
    if path == "/" or any(below(path, prefix) for prefix in PUBLIC):
        return None
    for prefix, scope in NEEDS:
        if below(path, prefix):
            return scope
    return Scope.VIDEOS_READ if method in READS else Scope.VIDEOS_WRITE


def allows(granted: Iterable[Scope], needed: Scope) -> bool:
    held = set(granted)
    return needed in held or Scope.ADMIN in held
