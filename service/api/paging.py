"""Lists in the shape of OpenAI's: whole, or a page with the ids at its ends and whether more lie behind it."""

from collections.abc import Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

from fastapi import Query
from pydantic import BaseModel

AFTER = Query(
    max_length=64,
    description="Id behind which the page begins, also of what was deleted within the hour; an unknown one gives none.",
)
T = TypeVar("T")


class Listing(BaseModel, Generic[T]):
    """All that there are."""

    object: Literal["list"] = "list"
    data: list[T]


class Page(Listing[T], Generic[T]):
    """One page; the next one begins behind `last_id` (`?after=`)."""

    first_id: str | None
    last_id: str | None
    has_more: bool


class Item(Protocol):
    id: str


P = TypeVar("P", bound=Page[Any])


def page_of(kind: type[P], items: Sequence[Item], limit: int) -> P:
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
