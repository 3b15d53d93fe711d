"""`Idempotency-Key`: one key makes one job, however often a client repeats the request."""

import re

from service.api.errors import ApiError

PRINTABLE = re.compile(r"^[!-~]{1,255}$", re.ASCII)


def scoped_key(key: str | None, route: str) -> str | None:
    """The key within its route. Raises ApiError when the header is malformed."""
    if key is None:
        return None
    if PRINTABLE.fullmatch(key) is None:
        raise ApiError(
            "invalid_header",
            "Idempotency-Key must have 1 to 255 printable ASCII characters without spaces",
            param="Idempotency-Key",
        )
    return f"{route} {key}"
