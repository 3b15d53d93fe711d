"""How far an attempt is, from the steps that the work-horse reports: percent, ETA, and how often to tell."""

import time
from collections.abc import Callable

from service.jobs.attempts import Progress
from workers.messages import Stepped

TELL_SECONDS = 0.25
"""The shortest time between two progress events of a job."""
LATE_STAGES = {"encode": 96, "store": 98}
"""Percent at the start of the stages behind the last step; the steps themselves fill 0-95."""


class ProgressMeter:
    """Fed with every message about steps; progress never goes back within an attempt."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.started = clock()
        self.told = -TELL_SECONDS
        self.stage = ""
        self.step = self.steps = 0
        self.percent = 0

    def read(self, message: Stepped) -> Progress:
        """The progress after this message; a stage without steps leaves the count of steps as it was."""
        now = self.clock()
        ended = 0 < message.steps == message.step
        news = message.stage != self.stage or ended or now - self.told >= TELL_SECONDS
        if news:
            self.told = now
        self.stage = message.stage
        if message.steps:
            self.step, self.steps = message.step, message.steps
        reached = 95 * message.step // message.steps if message.steps else LATE_STAGES.get(message.stage, 0)
        self.percent = max(self.percent, min(reached, 99))
        return Progress(
            stage=message.stage,
            step=self.step,
            steps=self.steps,
            percent=self.percent,
            eta_seconds=self.eta(message, now),
            tell=news or bool(message.preview),
            preview=message.preview,
        )

    def eta(self, message: Stepped, now: float) -> float | None:
        """Seconds left at the mean pace so far; None before the first step, and after the last one."""
        if not 0 < message.step < message.steps:
            return None
        return (now - self.started) / message.step * (message.steps - message.step)
