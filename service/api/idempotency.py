"""`Idempotency-Key`: one key makes one job, however often a client repeats the request."""

import re
from typing import Annotated

from fastapi import Header

from service.api.errors import ApiError

PRINTABLE = re.compile(r"^[!-~]{1,255}$", re.ASCII)

IdempotencyKey = Annotated[
    str | None,
    # A schema cannot say that each request needs a new one; the description of the whole interface does.
    Header(alias="Idempotency-Key", include_in_schema=False),
]


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
