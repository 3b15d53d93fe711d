"""Reads a JSON body strictly: what stock parsers let through (and later choke on) is refused here with a reason.

Refused: more than `MAX_BODY_BYTES`, any encoding but UTF-8, NaN and Infinity, numbers that overflow, a key given twice,
an unpaired surrogate, deep nesting, anything but an object.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from service.api.errors import ApiError

MAX_BODY_BYTES = 256 * 1024
MAX_DROPPED_BYTES = 8 * 1024 * 1024
MAX_BODY_SECONDS = 30.0
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
            return model.model_validate(fields)
        except ValidationError as error:
            raise ApiError.of_validation(error.errors(include_url=False, include_input=False)) from None

    return read


async def read_json(request: Request) -> dict[str, Any]:
    """The body as an object.

    Raises:
        ApiError: `unsupported_media_type`, `body_too_large`, `request_timeout` or `invalid_json`.
    """
    require_json(request)
    body = await read_body(request)
    try:
        return parse_object(body)
    except NotAcceptable as error:
        raise ApiError("invalid_json", str(error)) from None


def require_json(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        raise ApiError("unsupported_media_type", "Content-Type must be application/json")
    name, _, value = parameters.strip().lower().partition("=")
    if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
        raise ApiError("unsupported_media_type", "the charset of a JSON body must be utf-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError("unsupported_media_type", "a compressed body is not accepted")


async def read_body(request: Request) -> bytes:
    """The body, counted while it arrives, so that no more than the limit is ever held.

    Somewhat larger ones are read to their end and dropped: a client that is cut off while it sends may never see why.
    """
    too_large = ApiError("body_too_large", f"the body may have {MAX_BODY_BYTES} bytes at most", headers=HANG_UP)
    declared = request.headers.get("content-length", "0")
    if len(declared) > 18 or (declared.isdecimal() and int(declared) > MAX_DROPPED_BYTES):
        raise too_large
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(MAX_BODY_SECONDS):
            async for chunk in request.stream():
                received += len(chunk)
                if received <= MAX_BODY_BYTES:
                    body += chunk
                elif received > MAX_DROPPED_BYTES:
                    break
    except TimeoutError:
        detail = f"the body must arrive within {MAX_BODY_SECONDS:g} seconds"
        raise ApiError("request_timeout", detail, headers=HANG_UP) from None
    if received > MAX_BODY_BYTES:
        raise too_large
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` holds.

    Raises:
        NotAcceptable: with the reason.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotAcceptable("the body must be UTF-8") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=object_without_duplicates,
            parse_constant=refuse_constant,
            parse_float=finite_number,
            parse_int=whole_number,
        )
    except json.JSONDecodeError as error:
        raise NotAcceptable(f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise NotAcceptable(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    if not isinstance(value, dict):
        raise NotAcceptable("the body must be a JSON object")
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
