"""The last step of every route that makes a video: the job is taken, perhaps waited for, and the answer says so."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Response

from service.api.errors import ApiError
from service.api.inputs import InputTaker
from service.api.openai_route import video_for
from service.api.polling import poll_interval
from service.api.resources import Resources, in_time
from service.api.schemas import VideoRequest
from service.api.terms import Terms
from service.jobs.admission import Priority, QuotaExceeded
from service.jobs.connection import RedisUnavailable
from service.jobs.contract import Job, JobSpec
from service.jobs.events import JobNotFound, follow
from service.jobs.record import IdempotencyConflict, QueueFull


async def accept_video(
    held: Resources,
    terms: Terms,
    request: VideoRequest,
    make_spec: Callable[[InputTaker], Awaitable[JobSpec]],
    inputs: InputTaker,
    *,
    status: int = 202,
) -> Response:
    """Records and queues the job of a request; the answer is its `Video`.

    Args:
        status: of the answer.
        make_spec: makes the job, with the inputs stored; they are removed again when no new job needs them.

    Raises:
        ApiError: `missing_scope` for a priority that the key may not ask for; what `make_spec` raises.
        QueueFull, QuotaExceeded, IdempotencyConflict, RedisUnavailable: see `JobRecords.accept`.
    """
    priority = Priority(request.priority)
    if priority is Priority.HIGH and not terms.may_hurry:
        raise ApiError("missing_scope", "the API key lacks the scope priority", param="priority")
    try:
        spec = await make_spec(inputs)
        print_ = None if terms.key is None and terms.repeat is None else fingerprint(request, spec)
        key = terms.key if terms.repeat is None else f"{terms.repeat.scope} {print_}"
        accepted = await held.records.accept(
            spec,
            idempotency_key=key,
            fingerprint=print_,
            priority=priority,
            repeat=terms.repeat,
            cancel_after_seconds=terms.cancel_after_seconds,
        )
    except (ApiError, QueueFull, QuotaExceeded, IdempotencyConflict):
        await inputs.undo()
        raise  # after any other error the job may have been taken; what it does not use is swept in time
    if accepted.replayed:
        await inputs.undo()
    job = accepted.job
    headers = {"Location": f"/v1/videos/{job.id}"}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    if terms.wait_seconds:
        job = await ended(held, job, terms.wait_seconds)
        headers["Preference-Applied"] = f"wait={terms.wait_seconds}"
    headers |= poll_interval(job)
    return Response(video_for(job, openai=terms.openai).model_dump_json(), status, headers, "application/json")


async def ended(held: Resources, job: Job, seconds: float) -> Job:
    """The job once it has ended, or as it is after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            async for _ in follow(held.records.redis, job.id):
                pass
    except (TimeoutError, RedisUnavailable, JobNotFound):
        pass  # the job goes on without us
    return await in_time(held.records.get(job.id)) or job


def fingerprint(request: VideoRequest, spec: JobSpec) -> str:
    """SHA-256 over the fields as asked for, with the content of the inputs in place of their names."""
    fields = request.model_dump(mode="json")
    options = spec.options.model_dump(mode="json") if spec.options else None
    text = json.dumps([without_media(fields), by_content(options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def without_media(value: Any) -> Any:
    """The fields without those of `MediaInput`: an upload has another name each time."""
    if isinstance(value, dict):
        return {name: without_media(part) for name, part in value.items() if not is_media_input(part)}
    return [without_media(part) for part in value] if isinstance(value, list) else value


def is_media_input(value: Any) -> bool:
    return isinstance(value, dict) and "file_id" in value


def by_content(value: Any) -> Any:
    if isinstance(value, dict):
        return value["sha256"] if "sha256" in value else {name: by_content(part) for name, part in value.items()}
    return [by_content(part) for part in value] if isinstance(value, list) else value
