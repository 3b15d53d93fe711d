"""A gateway without a network and real workers, on one Redis."""

from tests.api.conftest import app, client, quiet_log
from tests.jobs.conftest import blocking, redis_server, redis_url
from tests.workers.conftest import settings, start_worker

__all__ = ["app", "blocking", "client", "quiet_log", "redis_server", "redis_url", "settings", "start_worker"]
