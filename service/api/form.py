"""Reads `multipart/form-data` as the same fields that a JSON body has; files stay on the disk.

Names in brackets make objects and lists, as the form encoders of HTTP clients write them: `video[id]=…`,
`keyframes[0][frame]=8`, `boxes[][x]=0.1`. The objects of a list come one by one or, as OpenAI's clients write them,
field by field. A list may repeat its name instead; a list or an object may also be one text of JSON.
"""

import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.api.body import MAX_UPLOAD_SECONDS, NotAcceptable, counted, parse_json, require_sound
from service.api.errors import ApiError

MAX_FILES = 40
MAX_FIELDS = 200
MAX_TEXT_BYTES = 32 * 1024 * 1024
"""Of one field that is no file: a data URL may be long."""
MAX_DEPTH = 5
NAME = re.compile(r"([^\[\]]{1,64})((?:\[[^\[\]]{0,64}\])*)")
BRACKET = re.compile(r"\[([^\[\]]*)\]")
STRUCTURED = frozenset(
    {
        "keyframes",
        "boxes",
        "expand",
        "metadata",
        "image",
        "last_image",
        "video",
        "mask",
        "input_reference",
        "file",
        "expires_after",
        "guidance_interval",
    }
)
"""Fields whose text may be JSON; a prompt that begins with a bracket stays a prompt."""
LISTS = frozenset({"keyframes", "boxes", "guidance_interval"})


class Node(dict[str, Any]):
    """An object that brackets make, and not one that came as JSON."""


@dataclass
class Form:
    """`fields` is shaped as JSON would be, with texts as leaves; a file is the token under which `files` has it."""

    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, UploadFile] = field(default_factory=dict)


@asynccontextmanager
async def read_form(request: Request, limit: int) -> AsyncIterator[Form]:
    """The form of a request whose body has `limit` bytes at most; its files are gone when the context ends.

    Raises:
        ApiError: `invalid_form`, `body_too_large` or `request_timeout`.
    """
    parser = MultiPartParser(
        request.headers,
        counted(request, limit, MAX_UPLOAD_SECONDS),
        max_files=MAX_FILES,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_TEXT_BYTES,
    )
    try:
        data = await parser.parse()
    except MultiPartException as error:
        raise ApiError("invalid_form", error.message) from None
    try:
        try:
            form = form_of(data)
        except NotAcceptable as error:
            raise ApiError("invalid_form", str(error)) from None
        yield form
    finally:
        await data.close()


def form_of(data: FormData) -> Form:
    """The fields of a parsed form. Raises NotAcceptable."""
    form, nonce = Form(), secrets.token_hex(16)
    items = data.multi_items()
    paths = [path_of(name) for name, _ in items]
    number_objects(paths)
    for path, (name, value) in zip(paths, items, strict=True):
        if isinstance(value, UploadFile):
            token = f"upload:{nonce}:{len(form.files)}"
            form.files[token] = value
            place(form.fields, path, token)
        elif name in STRUCTURED and value.lstrip()[:1] in ("[", "{"):
            place_parsed(form.fields, name, parse_json(value))
        elif name in LISTS:
            place(form.fields, [name, ""], value)
        else:
            place(form.fields, path, value)
    form.fields = {name: with_lists(value) for name, value in form.fields.items()}
    require_sound(form.fields)
    return form


def place_parsed(fields: dict[str, Any], name: str, value: Any) -> None:
    """A list may come as a whole or part by part; a list is an object of numbers for now."""
    if name not in LISTS:
        place(fields, [name], value)
        return
    for part in value if isinstance(value, list) else [value]:
        place(fields, [name, ""], part)


def path_of(name: str) -> list[str]:
    """`a[b][]` is a, b and the end of a list."""
    match = NAME.fullmatch(name)
    path = [match[1], *BRACKET.findall(match[2])] if match else []
    if not path or len(path) > MAX_DEPTH:
        raise NotAcceptable("a field has a malformed name")
    return path


def number_objects(paths: Sequence[list[str]]) -> None:
    """Puts numbers for the `[]` of lists whose objects come field by field: all `boxes[][x]`, then all `boxes[][y]`.

    Raises:
        NotAcceptable: not each object has each field, so that nobody can tell which has.
    """
    for name in LISTS:
        parts = [path for path in paths if len(path) > 2 and path[:2] == [name, ""]]
        runs = [list(run) for _, run in groupby(parts, key=lambda path: path[2:])]
        if len(runs) > len({tuple(run[0]) for run in runs}) or len(runs) == len(parts):
            continue  # object by object
        if len({len(run) for run in runs}) > 1:
            raise NotAcceptable(f"the objects of {name} have different fields: send the list as one text of JSON")
        for run in runs:
            for number, path in enumerate(run):
                path[1] = str(number)


def place(node: dict[str, Any], path: list[str], value: Any) -> None:
    """Puts a value where its path leads, making the objects on the way. Lists are objects of numbers for now."""
    for here, below in pairwise(path):
        node = child(node, slot(node, here, below))
    last = path[-1] or str(len(node))
    if last in node:
        raise NotAcceptable("a field is given twice")
    node[last] = value


def slot(node: Mapping[str, Any], name: str, below: str) -> str:
    """The name itself; for `[]` the last object of the list, or a new one where that has the next field already."""
    if name:
        return name
    latest = node.get(str(len(node) - 1))
    full = not isinstance(latest, dict) or below in latest
    return str(len(node)) if full else str(len(node) - 1)


def child(node: dict[str, Any], name: str) -> dict[str, Any]:
    below = node.setdefault(name, Node())
    if not isinstance(below, Node):
        raise NotAcceptable("a field is both a value and an object")
    return below


def with_lists(value: Any) -> Any:
    """The same with objects of the names 0, 1, 2, … as lists, where the brackets made them."""
    if not isinstance(value, Node):
        return value
    parts = {name: with_lists(part) for name, part in value.items()}
    if parts and set(parts) == {str(number) for number in range(len(parts))}:
        return [parts[str(number)] for number in range(len(parts))]
    return parts
