"""Signals as two flags: the first SIGTERM or SIGINT asks the worker to drain, a second one to stop at once."""

import signal
import threading
import time
from types import FrameType

SAME_REQUEST_SECONDS = 0.5
"""Signals that come together (a terminal and a supervisor both send one) are one request."""


class Shutdown:
    """Handlers only set flags: nothing is interrupted between taking a job from the queue and knowing about it."""

    def __init__(self) -> None:
        self.requested_at: float | None = None
        self.forced = False
        self._requested = threading.Event()

    def install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.note)

    def note(self, number: int, frame: FrameType | None) -> None:
        if self.requested_at is None:
            self.requested_at = time.monotonic()
            self._requested.set()
        elif time.monotonic() - self.requested_at > SAME_REQUEST_SECONDS:
            self.forced = True

    @property
    def requested(self) -> bool:
        return self.requested_at is not None

    def patience_spent(self, drain_seconds: float) -> bool:
        """Whether a running job has had its time to go on."""
        return self.forced or (self.requested_at is not None and time.monotonic() - self.requested_at >= drain_seconds)

    def sleep(self, seconds: float) -> None:
        """Sleeps, at most until a shutdown is requested."""
        self._requested.wait(seconds)
