"""One structured line per request, and the last resort for exceptions that nothing else has caught."""

import logging
import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import problem, translate
from service.api.request_id import request_id_of

log = structlog.get_logger("service.api.access")

QUIET_PATHS = ("/livez", "/readyz")
MAX_LOGGED_PATH = 200


class AccessLog:
    """ASGI middleware inside `RequestId`. Paths are logged, never queries, bodies or keys."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.log = log.bind()  # once: a logger that is not bound yet is made anew with every line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        sent = 0

        async def send_counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except ClientDisconnect:
            status = 499
        except Exception as error:
            self.log.exception("unexpected_error")
            if status:
                raise  # the response has begun: only a broken connection can tell the client
            response = problem(request_id_of(scope), translate(error))
            await response(scope, receive, send_counted)
        finally:
            level = logging.DEBUG if scope["path"] in QUIET_PATHS else logging.INFO
            self.log.log(
                level,
                "request",
                method=scope["method"],
                path=scope["path"][:MAX_LOGGED_PATH],
                status=status,
                bytes=sent,
                ms=round((time.perf_counter() - started) * 1000, 1),
            )
