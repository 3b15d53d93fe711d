"""How often a client should look: OpenAI's clients take the interval from the first answer and keep it."""

from fastapi import Response

from service.jobs.contract import Job

LOOKS_UNTIL_DONE = 20
SHORTEST_MS = 250
LONGEST_MS = 5000
UNKNOWN_MS = 1000


def announce_poll_interval(response: Response, job: Job) -> None:
    """Sets `openai-poll-after-ms` from the ETA, unless the job has ended."""
    if not job.state.terminal:
        response.headers["openai-poll-after-ms"] = str(poll_after_ms(job.eta_seconds))


def poll_after_ms(eta_seconds: float | None) -> int:
    if eta_seconds is None:
        return UNKNOWN_MS
    return min(LONGEST_MS, max(SHORTEST_MS, round(eta_seconds * 1000 / LOOKS_UNTIL_DONE)))
