"""Ranges against the plain reading of RFC 9110, section 14.1.2."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.byte_range import ByteRange, RangeNotSatisfiable, asked_range, names_etag, range_applies

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=0-", 0, 10),
        ("bytes=3-5", 3, 6),
        ("bytes=9-9", 9, 10),
        ("bytes=5-999999999999999999", 5, 10),
        ("bytes=-1", 9, 10),
        ("bytes=-10", 0, 10),
        ("bytes=-999", 0, 10),
        ("Bytes=2-3", 2, 4),
        ("bytes= 2-3 ", 2, 4),
    ],
)
def test_single_ranges(header: str, start: int, end: int) -> None:
    assert asked_range(header, 10) == ByteRange(start, end)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=999999999999999999-", "bytes=-0"])
def test_ranges_outside_are_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        asked_range(header, 10)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-3",
        "bytes=0-1,3-4",
        "bytes=0-1," * 4500,
        "items=0-1",
        "bytes=--1",
        "bytes=1.5-2",
        "bytes=0x1-2",
        "bytes=٣-٤",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_anything_else_is_the_whole_file(header: str | None) -> None:
    assert asked_range(header, 10) is None


@unhurried
@given(size=st.integers(1, 50), first=st.integers(0, 60), last=st.integers(0, 60))
def test_agrees_with_slicing(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    expected = content[first : last + 1]
    if last < first:
        assert asked_range(f"bytes={first}-{last}", size) is None
    elif not expected:
        with pytest.raises(RangeNotSatisfiable):
            asked_range(f"bytes={first}-{last}", size)
    else:
        part = asked_range(f"bytes={first}-{last}", size)
        assert part is not None
        assert content[part.start : part.end] == expected


@unhurried
@given(st.text(max_size=40), st.integers(0, 100))
def test_no_header_breaks_it(header: str, size: int) -> None:
    try:
        part = asked_range(header, size)
    except RangeNotSatisfiable:
        return
    assert part is None or 0 <= part.start < part.end <= size


def test_conditional_headers() -> None:
    etag = '"abc"'

    assert names_etag(etag, etag)
    assert names_etag('"x", W/"abc"', etag)
    assert names_etag("*", etag)
    assert not names_etag(None, etag)
    assert not names_etag('"abcd"', etag)
    assert not names_etag("abc", etag)
    assert range_applies(None, etag)
    assert range_applies(etag, etag)
    assert not range_applies('W/"abc"', etag)
    assert not range_applies("Wed, 21 Oct 2015 07:28:00 GMT", etag)
