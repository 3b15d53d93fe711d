"""The last step of every route that makes a video: the job is taken, and the answer says so."""

import hashlib
import json
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from service.api.inputs import InputTaker
from service.api.polling import announce_poll_interval
from service.api.resources import Resources, in_time
from service.jobs.contract import Accepted, JobSpec


async def accept_job(
    held: Resources, response: Response, spec: JobSpec, *, key: str | None, fingerprint: str
) -> Accepted:
    """Records and queues the job, and sets the headers of the answer: all that concerns quotas goes through here."""
    accepted = await in_time(held.records.accept(spec, idempotency_key=key, fingerprint=fingerprint))
    response.headers["Location"] = f"/v1/videos/{accepted.job.id}"
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    announce_poll_interval(response, accepted.job)
    return accepted


async def accept_with_inputs(
    held: Resources, response: Response, spec: JobSpec, inputs: InputTaker, *, key: str | None, fingerprint: str
) -> Accepted:
    """The same for a job whose inputs were stored for it: they are removed again unless it is new."""
    try:
        accepted = await accept_job(held, response, spec, key=key, fingerprint=fingerprint)
    except BaseException:
        await inputs.undo()
        raise
    if accepted.replayed:
        await inputs.undo()
    return accepted


def fingerprint_with_inputs(request: BaseModel, spec: JobSpec) -> str:
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
