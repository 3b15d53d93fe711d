"""The gateway: `create_app(settings)` for tests and embedding, `from_environment` for uvicorn's `--factory`."""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from service.access.gate import Gate
from service.api.access_log import AccessLog
from service.api.errors import install_handlers
from service.api.openapi import install_openapi
from service.api.request_id import RequestId
from service.api.resources import open_resources
from service.api.routes import (
    content,
    events,
    files,
    health,
    index,
    metrics,
    models,
    openai_videos,
    playground,
    styles,
    tasks,
    text_to_video,
    usage,
    videos,
    webhooks,
)
from service.jobs.models import CatalogueError, read_catalogue
from service.settings import Settings, SettingsError, load_settings
from service.storage import Storage, StorageError
from service.telemetry.http_metrics import HttpMetrics
from service.telemetry.logs import configure_logging
from service.telemetry.traces import configure_tracing

DESCRIPTION = """Videos from prompts. A request becomes a job that ends as `completed`, `failed` or `cancelled`; look at
it under `/v1/videos/{id}`, follow it under `/events`, download it under `/content`. Errors are RFC 9457 problems.

Every request for a video may have an `Idempotency-Key`, 1 to 255 printable ASCII characters without spaces: sent again
with the same key it gives the same job, marked `Idempotent-Replayed: true`; with other fields it is refused. Keys are
kept for as long as the job, and for 24 hours at least."""


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects to Redis when it starts, not here.

    Raises:
        CatalogueError: a model folder has no usable `lumiere.json`.
        SettingsError: no Redis address is set.
        StorageError: the folder for videos cannot be made.
    """
    if settings.redis_url is None:
        raise SettingsError("LUMIERE_REDIS_URL: must be set to the address of a Redis server")
    catalogue = read_catalogue(settings.model_dirs)
    storage = Storage.open(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings, catalogue, storage) as app.state.resources:
            yield

    app = FastAPI(
        title="Lumiere",
        version=package_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads scripts from another host; routes/playground.py has one that does not
        redoc_url=None,
        redirect_slashes=False,
    )
    # The last one added is the outermost.
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(AccessLog)
    app.state.metrics = CollectorRegistry()
    app.add_middleware(HttpMetrics, registry=app.state.metrics)
    app.add_middleware(RequestId)
    install_handlers(app)
    for routes in (
        text_to_video,
        tasks,
        openai_videos,
        videos,
        content,
        events,
        files,
        styles,
        webhooks,
        models,
        usage,
        metrics,
        health,
        index,
        playground,
    ):
        app.include_router(routes.router)
    install_openapi(app, catalogue, settings)
    return app


def from_environment() -> FastAPI:
    """The application of the `LUMIERE_…` variables; ends the process with one clear line when they are wrong."""
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        configure_tracing("lumiere-gateway")
        app = create_app(settings)
    except (SettingsError, CatalogueError, StorageError) as error:
        sys.exit(f"lumiere gateway: {error}")
    leave_to_stay()
    return app


def leave_to_stay() -> None:
    """What has been loaded stays for as long as the process: looked through for garbage again and again, it would keep
    all requests waiting for 50 ms each time.
    """
    gc.collect()
    gc.freeze()


def package_version() -> str:
    try:
        return version("lumiere")
    except PackageNotFoundError:
        return "0.0.0"
