"""`Range` and the conditional headers of RFC 9110 for one immutable representation with a strong ETag."""

import re
from dataclasses import dataclass

SINGLE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE | re.ASCII)
ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


class RangeNotSatisfiable(ValueError):
    """No byte of the representation lies within the range that was asked for."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def asked_range(header: str | None, size: int) -> ByteRange | None:
    """The part asked for; None means all of it: no header, another unit, several ranges, or nonsense (RFC 9110, 14.2).

    Raises:
        RangeNotSatisfiable: the range is well-formed and lies outside `size` bytes.
    """
    match = SINGLE_RANGE.fullmatch(header or "")
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    elif last:
        start, end = max(size - int(last), 0), size
    else:
        return None
    if start >= end:
        raise RangeNotSatisfiable(header)
    return ByteRange(start, end)


def names_etag(header: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names the ETag (weak comparison)."""
    if header is None:
        return False
    return header.strip() == "*" or etag in ENTITY_TAG.findall(header)


def range_applies(if_range: str | None, etag: str) -> bool:
    """Whether `If-Range` allows a part: absent, or exactly the ETag. Dates never match: there is no Last-Modified."""
    return if_range is None or if_range.strip() == etag
