"""How often a client should look: OpenAI's clients take the interval from the first answer and keep it."""

from service.jobs.contract import Job

LOOKS_UNTIL_DONE = 20
SHORTEST_MS = 250
LONGEST_MS = 5000
UNKNOWN_MS = 1000


def poll_interval(job: Job) -> dict[str, str]:
    """The header `openai-poll-after-ms` from the ETA, unless the job has ended."""
    return {} if job.state.terminal else {"openai-poll-after-ms": str(poll_after_ms(job.eta_seconds))}


def poll_after_ms(eta_seconds: float | None) -> int:
    if eta_seconds is None:
        return UNKNOWN_MS
    return min(LONGEST_MS, max(SHORTEST_MS, round(eta_seconds * 1000 / LOOKS_UNTIL_DONE)))
