"""Reads the body of a request that may bring files: JSON, or a form with the same fields."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from service.api.body import Body, media_type_of, read_json
from service.api.errors import ApiError
from service.api.form import read_form
from service.api.resources import Held, Resources

MAX_JSON_BYTES = 32 * 1024 * 1024
"""Room for data URLs; OpenAI's take 20 MiB at most."""
FORM_OVERHEAD_BYTES = 1024 * 1024
FILES_AT_ONCE = 2
"""So many files of the largest size fit into one form."""


@dataclass(frozen=True)
class Asked(Generic[Body]):
    """The fields of a request, and its files by the token that stands for them in the fields."""

    fields: Body
    files: Mapping[str, UploadFile]


@asynccontextmanager
async def asked_of(model: type[Body], request: Request, held: Resources) -> AsyncIterator[Asked[Body]]:
    """The body as `model`; its files are gone when the context ends.

    Raises:
        ApiError: every bad field is named, none is repeated.
    """
    if media_type_of(request) == "multipart/form-data":
        limit = FILES_AT_ONCE * held.max_upload_bytes + FORM_OVERHEAD_BYTES
        async with read_form(request, limit) as form:
            yield Asked(validated(model, without_nulls(model, form.fields), strict=False), form.files)
    else:
        yield Asked(validated(model, await read_json(request, MAX_JSON_BYTES, or_form=True), strict=True), {})


def task_body(model: type[Body]) -> Callable[[Request, Held], AsyncIterator[Asked[Body]]]:
    """`asked_of` as a dependency."""

    async def read(request: Request, held: Held) -> AsyncIterator[Asked[Body]]:
        async with asked_of(model, request, held) as asked:
            yield asked

    return read


def without_nulls(model: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a form without those that may be left out and are the text `null`, as form encoders write it."""
    optional = {name for name, info in model.model_fields.items() if info.default is None}
    return {name: value for name, value in fields.items() if value != "null" or name not in optional}


def validated(model: type[Body], fields: dict[str, Any], *, strict: bool) -> Body:
    """The fields as a model; the texts of a form are converted where `strict` is False. Raises ApiError."""
    try:
        return model.model_validate(fields, strict=strict)
    except ValidationError as error:
        raise ApiError.of_validation(error.errors(include_url=False, include_input=False)) from None
