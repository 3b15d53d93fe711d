"""Entry point: `python -m service.webhooks.main` delivers webhooks until SIGTERM, in place of the gateways."""

import asyncio
import signal
import sys

from service.jobs.connection import connect
from service.settings import Settings, SettingsError, load_settings
from service.telemetry.logs import configure_logging
from service.webhooks.run import run_webhooks
from service.webhooks.targets import parse_allow_list


async def deliver(settings: Settings) -> None:
    """Delivers until the process is asked to stop.

    Raises:
        SettingsError: there is no Redis, or nothing may be sent anywhere.
    """
    if settings.redis_url is None:
        raise SettingsError("LUMIERE_REDIS_URL: must be set to the address of a Redis server")
    if not settings.webhook_allow:
        raise SettingsError("LUMIERE_WEBHOOK_ALLOW: must name the origins that webhooks may be sent to")
    stop = asyncio.Event()
    for request in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(request, stop.set)
    redis = connect(settings.redis_url)
    await run_webhooks(redis, parse_allow_list(settings.webhook_allow), stop)
    await redis.aclose()


def main() -> None:
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        asyncio.run(deliver(settings))
    except SettingsError as error:
        sys.exit(f"lumiere webhooks: {error}")


if __name__ == "__main__":
    main()
