"""Reads a JSON body strictly: what stock parsers let through (and later choke on) is refused here with a reason.

Refused: more than `MAX_BODY_BYTES`, any encoding but UTF-8, NaN and Infinity, numbers that overflow, a key given twice,
an unpaired surrogate, deep nesting, anything but an object.
"""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from service.api.errors import ApiError

MAX_BODY_BYTES = 256 * 1024
MAX_DROPPED_BYTES = 8 * 1024 * 1024
MAX_BODY_SECONDS = 30.0
MAX_UPLOAD_SECONDS = 600.0
MAX_DEPTH = 16
MAX_NUMBER_CHARACTERS = 64
HANG_UP = {"Connection": "close"}  # else the server reads, and drops, all that the client still sends

Body = TypeVar("Body", bound=BaseModel)


class NotAcceptable(ValueError):
    """The text is no JSON that this service takes; the message says why and repeats nothing of it."""


def json_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads the body as `model`; every bad field is named, none is repeated."""

    async def read(request: Request) -> Body:
        fields = await read_json(request)
        try:
            return model.model_validate(fields, strict=True)
        except ValidationError as error:
            raise ApiError.of_validation(error.errors(include_url=False, include_input=False)) from None

    return read


def json_body_or_none(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """The same where the body may be left out: it is then that of all defaults."""
    read_body_given = json_body(model)

    async def read(request: Request) -> Body:
        given = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        return await read_body_given(request) if given else model()

    return read


async def read_json(request: Request, limit: int = MAX_BODY_BYTES, *, or_form: bool = False) -> dict[str, Any]:
    """The body, of `limit` bytes at most, as an object. `or_form`: whether the route takes a form as well.

    Raises:
        ApiError: `unsupported_media_type`, `body_too_large`, `request_timeout` or `invalid_json`.
    """
    require_json(request, or_form)
    body = await read_body(request, limit)
    try:
        if len(body) > MAX_BODY_BYTES:
            return await asyncio.to_thread(parse_object, body)
        return parse_object(body)
    except NotAcceptable as error:
        raise ApiError("invalid_json", str(error)) from None


def media_type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_json(request: Request, or_form: bool) -> None:
    if media_type_of(request) != "application/json":
        others = " or multipart/form-data" if or_form else ""
        raise ApiError("unsupported_media_type", f"Content-Type must be application/json{others}")
    parameters = request.headers["content-type"].partition(";")[2]
    name, _, value = parameters.strip().lower().partition("=")
    if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
        raise ApiError("unsupported_media_type", "the charset of a JSON body must be utf-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError("unsupported_media_type", "a compressed body is not accepted")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises ApiError as `counted` does."""
    body = bytearray()
    seconds = MAX_BODY_SECONDS if limit <= MAX_BODY_BYTES else MAX_UPLOAD_SECONDS
    try:
        async with asyncio.timeout(seconds):
            async for chunk in within(request, limit):
                body += chunk
    except TimeoutError:
        raise too_slow(seconds) from None
    return bytes(body)


async def counted(request: Request, limit: int, seconds: float) -> AsyncGenerator[bytes]:
    """The body as it arrives, counted, so that no more than `limit` bytes are ever given on.

    Raises:
        ApiError: `body_too_large` or `request_timeout`.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    chunks = within(request, limit)
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise too_slow(seconds) from None
        if chunk is None:
            return
        yield chunk


async def within(request: Request, limit: int) -> AsyncGenerator[bytes]:
    """The first `limit` bytes of the body.

    Somewhat larger ones are read to their end and dropped: a client that is cut off while it sends may never see why.

    Raises:
        ApiError: `body_too_large`.
    """
    declared = request.headers.get("content-length", "0")
    if len(declared) > 18 or (declared.isdecimal() and int(declared) > limit + MAX_DROPPED_BYTES):
        raise too_large(limit)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received <= limit:
            yield chunk
        elif received > limit + MAX_DROPPED_BYTES:
            break
    if received > limit:
        raise too_large(limit)


def too_slow(seconds: float) -> ApiError:
    return ApiError("request_timeout", f"the body must arrive within {seconds:g} seconds", headers=HANG_UP)


def too_large(limit: int) -> ApiError:
    return ApiError("body_too_large", f"the body may have {limit} bytes at most", headers=HANG_UP)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` holds.

    Raises:
        NotAcceptable: with the reason.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotAcceptable("the body must be UTF-8") from None
    value = parse_json(text)
    if not isinstance(value, dict):
        raise NotAcceptable("the body must be a JSON object")
    return value


def parse_json(text: str) -> Any:
    """The value that a JSON text stands for. Raises NotAcceptable."""
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotAcceptable(f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise NotAcceptable(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    require_sound(value)
    return value


def object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NotAcceptable("a key is given twice in the same object")
    return fields


def refuse_constant(_: str) -> NoReturn:
    raise NotAcceptable("NaN and Infinity are not JSON")


def finite_number(literal: str) -> float | int:
    """A number; one without a fraction is an integer, however it is written, as JSON Schema has it (7.0 is 7)."""
    number = float(literal) if len(literal) <= MAX_NUMBER_CHARACTERS else math.inf
    if not math.isfinite(number):
        raise NotAcceptable("a number is out of range")
    return int(number) if number.is_integer() else number


def whole_number(literal: str) -> int:
    if len(literal) > MAX_NUMBER_CHARACTERS:
        raise NotAcceptable("a number is out of range")
    return int(literal)


DECODER = json.JSONDecoder(
    object_pairs_hook=object_without_duplicates,
    parse_constant=refuse_constant,
    parse_float=finite_number,
    parse_int=whole_number,
)


def require_sound(value: Any, depth: int = 1) -> None:
    """Refuses unpaired surrogates and nesting below `MAX_DEPTH`; the parser's own recursion limit bounds this one."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotAcceptable("a string has an unpaired surrogate") from None
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise NotAcceptable(f"the body is nested deeper than {MAX_DEPTH} levels")
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            require_sound(part, depth + 1)
