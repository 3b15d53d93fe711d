"""The page that a browser gets at `/`, and its files: plain HTML, CSS and JavaScript, served as they are."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse

from service.api import playground
from service.api.errors import ApiError

router = APIRouter()

FOLDER = Path(next(iter(playground.__path__)))
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {file.name: MEDIA_TYPES[file.suffix] for file in FOLDER.iterdir() if file.suffix in MEDIA_TYPES}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob: data:",  # previews are data URLs
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}


def page() -> FileResponse:
    """The playground itself. It talks to the public API alone, and to no other host."""
    return html("index.html", Vary="Accept")


def html(name: str, **headers: str) -> FileResponse:
    return FileResponse(FOLDER / name, headers={**HEADERS, "Content-Security-Policy": POLICY, **headers})


def prefers_page(accept: str) -> bool:
    """Whether an `Accept` header is that of a browser that opens a page; programs get JSON."""
    return "text/html" in accept


@router.get("/docs", include_in_schema=False)
@router.head("/docs", include_in_schema=False)
async def reference() -> FileResponse:
    """The OpenAPI document for people."""
    return html("reference.html")


@router.get("/playground/{name}", include_in_schema=False)
@router.head("/playground/{name}", include_in_schema=False)
async def playground_file(name: Annotated[str, PathParameter()]) -> FileResponse:
    if name not in FILES:
        raise ApiError("not_found", "this path names nothing here")
    return FileResponse(FOLDER / name, media_type=FILES[name], headers=HEADERS)
