"""`/` says where things are (to people by the playground), `/errors` what the error codes mean."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response

from service.api.error_codes import ERRORS
from service.api.errors import ApiError
from service.api.openapi import problems
from service.api.routes.playground import page, prefers_page

router = APIRouter(tags=["about"])


@router.get("/", summary="Where things are", response_model=dict[str, str], responses=problems())
@router.head("/", response_model=dict[str, str], include_in_schema=False)
async def index(accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response | dict[str, str]:
    """A browser gets the playground instead."""
    if prefers_page(accept):
        return page()
    return {
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "errors": "/errors",
        "models": "/v1/models",
        "videos": "/v1/videos",
        "ready": "/readyz",
    }


@router.get("/errors", summary="All error codes", responses=problems())
async def list_errors() -> list[dict[str, Any]]:
    return [asdict(kind) for kind in ERRORS.values()]


@router.get("/errors/{code}", summary="One error code", responses=problems("not_found"))
async def get_error(code: Annotated[str, Path(examples=["queue_full"])]) -> dict[str, Any]:
    """What the `type` of a problem points at."""
    if code not in ERRORS:
        raise ApiError("not_found", "there is no error with this code", param="code")
    return asdict(ERRORS[code])
