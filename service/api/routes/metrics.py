"""`/metrics`: Prometheus asks here; with API keys it needs the scope `metrics`."""

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from service.api.resources import Held, in_time
from service.jobs.connection import RedisUnavailable
from service.telemetry.http_metrics import exposition
from service.telemetry.job_metrics import JobCollector, look

router = APIRouter(tags=["health"])
log = structlog.get_logger(__name__)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, held: Held) -> Response:
    """Of this gateway's requests, and of the whole job system; that Redis is away is a metric too."""
    try:
        seen = await in_time(look(held.records, tuple(held.catalogue)))
    except RedisUnavailable as error:
        log.warning("no_metrics_of_jobs", reason=str(error))
        seen = None
    of_jobs = CollectorRegistry()
    of_jobs.register(JobCollector(seen))
    own: CollectorRegistry = request.app.state.metrics
    return Response(exposition(own) + generate_latest(of_jobs), media_type=CONTENT_TYPE_LATEST)
