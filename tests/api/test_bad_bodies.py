"""Bodies that stock FastAPI answers with a 500, takes by mistake or repeats in its error: each is a clear 4xx here."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from service.api import body
from service.api.body import MAX_BODY_BYTES, NotAcceptable, parse_object

JSON = {"Content-Type": "application/json"}
LARGE = b'{"prompt":"' + b"x" * 5_000_000 + b'"}'

CORPUS: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "blank": (b"  \n", 400),
    "not json": (b"prompt=a ball", 400),
    "truncated": (b'{"prompt": "a ba', 400),
    "trailing garbage": (b'{"prompt": "a"} x', 400),
    "trailing comma": (b'{"prompt": "a",}', 400),
    "single quotes": (b"{'prompt': 'a'}", 400),
    "comment": (b'{"prompt": "a" /* hi */}', 400),
    "NaN": (b'{"prompt": "a", "guidance_scale": NaN}', 400),
    "Infinity": (b'{"prompt": "a", "guidance_scale": Infinity}', 400),
    "-Infinity": (b'{"prompt": "a", "guidance_scale": -Infinity}', 400),
    "1e400": (b'{"prompt": "a", "guidance_scale": 1e400}', 400),
    "-1e400": (b'{"prompt": "a", "seed": -1e400}', 400),
    "5,000 digits": (b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", 400),
    "5,000 decimals": (b'{"prompt": "a", "guidance_scale": 1.' + b"1" * 5000 + b"}", 400),
    "2^64": (b'{"prompt": "a", "seed": 18446744073709551616}', 422),
    "lone surrogate": (b'{"prompt": "\\ud800"}', 400),
    "lone surrogate in a key": (b'{"prompt": "a", "\\udfff": 1}', 400),
    "lone surrogate in an unknown list": (b'{"prompt": "a", "x": [["\\ud800"]]}', 400),
    "surrogate bytes": (b'{"prompt": "\xed\xa0\x80"}', 400),
    "latin-1": ('{"prompt": "süß"}'.encode("latin-1"), 400),
    "UTF-8 with BOM": (b'\xef\xbb\xbf{"prompt": "a"}', 400),
    "UTF-16": ('{"prompt": "a"}'.encode("utf-16"), 400),
    "UTF-16 without BOM": ('{"prompt": "a"}'.encode("utf-16-le"), 400),
    "UTF-32": ('{"prompt": "a"}'.encode("utf-32"), 400),
    "raw NUL": (b'{"prompt": "a\x00b"}', 400),
    "escaped NUL": (b'{"prompt": "a\\u0000b"}', 422),
    "raw newline": (b'{"prompt": "a\nb"}', 400),
    "deep lists": (b"[" * 200_000, 400),
    "deep lists, closed": (b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "deep objects": (b'{"a":' * 30_000 + b"1" + b"}" * 30_000, 400),
    "17 deep": (b'{"prompt": "a", "x":' + b"[" * 17 + b"]" * 17 + b"}", 400),
    "duplicate key": (b'{"prompt": "a", "seed": 1, "seed": 2}', 400),
    "duplicate key by escape": (b'{"prompt": "a", "prom\\u0070t": "b"}', 400),
    "a list": (b'[{"prompt": "a"}]', 400),
    "a string": (b'"a red ball"', 400),
    "a number": (b"7", 400),
    "null": (b"null", 400),
    "5 MB prompt": (LARGE, 413),
    "one byte too many": (b'{"prompt":"' + b"x" * (MAX_BODY_BYTES - 12) + b'"}', 413),
    "as large as allowed": (b'{"prompt":"' + b"x" * (MAX_BODY_BYTES - 13) + b'"}', 422),
    "many keys": (json.dumps({f"k{n}": n for n in range(10_000)}).encode(), 422),
    "hostile keys": (b'{"prompt":"a","__proto__":{},"../../etc":1,"<script>":2,"":3}', 422),
}


@pytest.mark.parametrize("name", CORPUS)
async def test_body_is_refused(client: httpx.AsyncClient, name: str) -> None:
    content, status = CORPUS[name]
    started = time.perf_counter()
    answer = await client.post("/v1/text-to-video", content=content, headers=JSON)
    seconds = time.perf_counter() - started

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 4000
    assert seconds < 5
    assert (await client.get("/v1/videos")).json()["data"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_other_media_types_are_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/v1/text-to-video", content=b'{"prompt": "a"}', headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("declared", ["-1", "9" * 30, "1e9", "0x10"])
async def test_a_lying_content_length_does_no_harm(client: httpx.AsyncClient, declared: str) -> None:
    headers = {**JSON, "Content-Length": declared}
    answer = await client.post("/v1/text-to-video", content=b'{"prompt": ', headers=headers)

    assert answer.status_code in (400, 413)


async def test_a_body_without_length_is_counted_while_it_arrives(url: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"prompt":"'
        while sent < 500_000_000:
            sent += 65_536
            yield b"x" * 65_536

    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        try:
            answer = await client.post("/v1/text-to-video", content=endless(), headers=JSON)
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        except (httpx.WriteError, httpx.ReadError):  # who sends without end may be cut off
            pass
        assert sent < 50_000_000
        assert (await client.get("/livez")).status_code == 200


async def test_a_sender_of_too_much_is_told_so(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        for _ in range(3):
            answer = await client.post("/v1/text-to-video", content=LARGE, headers=JSON)
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_body_that_stalls_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_BODY_SECONDS", 0.2)
    address = httpx.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"POST /v1/text-to-video HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    writer.write(b'Content-Length: 20\r\n\r\n{"pro')
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()

    assert head.startswith(b"HTTP/1.1 408")


def test_parse_takes_ordinary_json() -> None:
    assert parse_object('{"a": [1, 2.5, -3e2, true, null, "ü\\ud83d\\ude00"]}'.encode()) == {
        "a": [1, 2.5, -300.0, True, None, "ü😀"]
    }


def test_reasons_repeat_nothing() -> None:
    with pytest.raises(NotAcceptable) as refusal:
        parse_object(b'{"password": "hunter2", oops}')

    assert "hunter2" not in str(refusal.value)
    assert "line 1 column" in str(refusal.value)
