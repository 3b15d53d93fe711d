"""Links that open one thing for anybody until they expire: a path signed with a secret that all gateways share.

The secret is made on first use and lives in Redis; to take all links back, delete `keys.LINK_SECRET` and restart the
gateways.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import parse_qsl, urlencode

from redis.asyncio import Redis

from service.jobs import keys
from service.jobs.connection import redis_errors

EXPIRES, SIGNATURE = "expires", "sig"
"""The names of the parameters; FastAPI's traces leave the values of `sig` out."""
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 86_400


class Links:
    """Raises RedisUnavailable when Redis does not answer the first question for the secret."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self.redis = redis
        self.clock = clock
        self.known_secret = b""

    async def make(self, path: str, parameters: dict[str, str], seconds: int) -> tuple[str, int]:
        """The path with its parameters and a signature over both, and when it expires (unix seconds)."""
        expires = int(self.clock()) + seconds
        query = urlencode({**parameters, EXPIRES: str(expires)})
        return f"{path}?{query}&{SIGNATURE}={await self.signature(path, query)}", expires

    async def opens(self, path: str, query: str) -> bool:
        """Whether the query is one that `make` has made for this path, and has not expired."""
        signed, _, signature = query.rpartition(f"&{SIGNATURE}=")
        if not hmac.compare_digest(signature.encode(), (await self.signature(path, signed)).encode()):
            return False
        return self.clock() < int(dict(parse_qsl(signed))[EXPIRES])

    async def signature(self, path: str, query: str) -> str:
        return hmac.new(await self.secret(), f"{path}?{query}".encode(), hashlib.sha256).hexdigest()

    async def secret(self) -> bytes:
        if not self.known_secret:
            with redis_errors():
                await self.redis.set(keys.LINK_SECRET, secrets.token_hex(32), nx=True)
                self.known_secret = cast(str, await self.redis.get(keys.LINK_SECRET)).encode()
        return self.known_secret


def is_signed(query: str) -> bool:
    return f"&{SIGNATURE}=" in query
