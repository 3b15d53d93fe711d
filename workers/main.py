"""Entry point: `python -m workers.main` runs one worker until SIGTERM (drains first; a second signal stops at once)."""

import logging
import sys

import redis

from service.settings import Settings, SettingsError, load_settings
from service.storage import StorageError
from service.telemetry.logs import configure_logging
from service.telemetry.traces import configure_tracing
from workers.metrics import WorkerMetrics
from workers.shutdown import Shutdown
from workers.supervisor import LOAD_RETRY_SECONDS, RECONNECT_SECONDS, Supervisor

log = logging.getLogger(__name__)

RUNTIME = "workers.runtime:PipelineRuntime"


def run_worker(settings: Settings, runtime: str = RUNTIME, load_retry_seconds: float = LOAD_RETRY_SECONDS) -> None:
    """Runs one worker in this (main) thread until it is asked to stop.

    Raises:
        SettingsError, StorageError: it cannot start with these settings.
    """
    if settings.redis_url is None:
        raise SettingsError("LUMIERE_REDIS_URL: must be set to the address of a Redis server")
    shutdown = Shutdown()
    shutdown.install()
    metrics = WorkerMetrics()
    metrics.serve(settings)
    while not shutdown.requested:
        try:
            supervisor = Supervisor(settings, settings.redis_url, runtime, shutdown, load_retry_seconds, metrics)
        except redis.RedisError as error:
            log.warning("waiting for Redis: %s", error)
            shutdown.sleep(RECONNECT_SECONDS)
        else:
            supervisor.live()


def main() -> None:
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        configure_tracing("lumiere-worker")
        logging.getLogger("rq").setLevel(logging.WARNING)
        run_worker(settings)
    except (SettingsError, StorageError) as error:
        sys.exit(f"lumiere worker: {error}")


if __name__ == "__main__":
    main()
