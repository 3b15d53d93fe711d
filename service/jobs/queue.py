"""RQ as transport: it carries the names of attempts to workers, nothing else it says or can do is used.

Whoever can write to Redis can put any RQ job into the list, so a worker takes only the one function of the table below
with the one argument that fits, and callbacks, webhooks, retries and results in the job's hash are not even read.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rq.exceptions import DeserializationError
from rq.job import Job

from service.jobs import keys
from service.jobs.contract import is_job_id

GENERATE_VIDEO = "workers.tasks.generate_video"
"""The only function that is carried; common.lua writes the same name."""

CARRIED_FIELDS = frozenset({b"data", b"origin"})


class AttemptRefused(Exception):
    """An RQ job is none of ours."""


class AttemptJob(Job):
    """An RQ job that can be read but neither executes nor calls back anything."""

    def restore(self, raw_data: Mapping[bytes, bytes]) -> Any:
        return super().restore({name: value for name, value in raw_data.items() if name in CARRIED_FIELDS})

    @property
    def func(self) -> Callable[..., Any]:
        raise AttemptRefused("an attempt runs in the work-horse, RQ never calls a function")

    def perform(self) -> Any:
        return self.func()


def attempt_of(job: Job) -> tuple[str, int]:
    """Job id and attempt number that an RQ job stands for.

    Raises:
        AttemptRefused: it names another function, has other arguments, or is not named like an attempt.
    """
    try:
        job_id, attempt = keys.split_attempt_name(job.id)
        call = (job.func_name, job.instance, list(job.args), dict(job.kwargs))
    except (ValueError, TypeError, KeyError, DeserializationError) as error:
        raise AttemptRefused(f"RQ job {job.id!r} cannot be read: {error}") from None
    if not is_job_id(job_id):
        raise AttemptRefused(f"RQ job {job.id!r} is not named after a job")
    if call != (GENERATE_VIDEO, None, [job.id], {}):
        raise AttemptRefused(f"RQ job {job.id!r} asks for {job.func_name!r} with arguments that it may not")
    return job_id, attempt
