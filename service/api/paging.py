"""A page of a list in the shape of OpenAI's lists: the items, the ids at its ends, and whether more lie behind it."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pydantic import BaseModel


class Item(Protocol):
    id: str


class Page(BaseModel):
    """What all pages have beside their `data`; the next one begins behind `last_id` (`?after=`)."""

    first_id: str | None
    last_id: str | None
    has_more: bool


Listed = TypeVar("Listed", bound=Page)


def page_of(kind: type[Listed], items: Sequence[Item], limit: int) -> Listed:
    """The first `limit` of the items, of which there may be one more as a sign that there are more."""
    data = list(items[:limit])
    return kind.model_validate(
        {
            "data": data,
            "first_id": data[0].id if data else None,
            "last_id": data[-1].id if data else None,
            "has_more": len(items) > limit,
        }
    )
