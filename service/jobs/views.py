"""What Redis tells about jobs and workers, as objects."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.jobs.admission import Limit
from service.jobs.contract import Job, JobError, JobResult, JobSpec, JobState, WorkerInfo, WorkerState


def worker_of(name: str, fields: Mapping[str, str], seen_seconds_ago: float) -> WorkerInfo:
    return WorkerInfo(
        name=name,
        state=WorkerState(fields["state"]),
        models=tuple(filter(None, fields["models"].split(","))),
        seen_seconds_ago=max(seen_seconds_ago, 0.0),
        detail=fields["detail"],
        device=fields["device"],
    )


def read_limits(flat: Sequence[str]) -> tuple[Limit, ...]:
    """The limits in a reply of accept.lua."""
    return tuple(
        Limit(name=name, limit=float(limit), remaining=float(remaining), reset_seconds=float(reset_ms) / 1000)
        for name, limit, remaining, reset_ms in zip(*(flat[part::4] for part in range(4)), strict=True)
    )


def job_of_view(view: Sequence[Any]) -> Job | None:
    """The job in a view of common.lua; queued ones with their position and ETA, running ones with what is left."""
    flat, standing = view
    if not flat:
        return None
    record = dict(zip(flat[::2], flat[1::2], strict=True))
    job = job_of_record(record)
    if job.state is JobState.IN_PROGRESS and record.get("eta_ms"):
        return job.model_copy(update={"eta_seconds": max(int(record["eta_ms"]) - int(standing[0]), 0) / 1000})
    if job.state is not JobState.QUEUED:
        return job
    return job.model_copy(update=place_in_queue(job.spec, standing))


def place_in_queue(spec: JobSpec, standing: Sequence[Any]) -> dict[str, Any]:
    """Position and ETA of a queued job, from its `standing` in common.lua."""
    _, rank, length, waiting_cost, running_seconds, workers, step_seconds, cost_seconds = standing
    eta = queue_eta(
        spec,
        ahead=float(waiting_cost) * rank / length if length else 0.0,
        running=float(running_seconds),
        workers=workers,
        step_seconds=float(step_seconds) if step_seconds else None,
        cost_seconds=float(cost_seconds) if cost_seconds else None,
    )
    return {"queue_position": max(rank, 0), "eta_seconds": eta}


def queue_eta(
    spec: JobSpec, *, ahead: float, running: float, workers: int, step_seconds: float | None, cost_seconds: float | None
) -> float | None:
    """Seconds until a queued job's video is expected: the work ahead of it shared by all workers, then its own.

    Args:
        ahead: cost of the jobs ahead of it; running: seconds left of the jobs in progress.
        step_seconds: learned seconds per step of this shape; cost_seconds: per unit of cost of this model.
    """
    if workers < 1 or cost_seconds is None:
        return None
    own = step_seconds * spec.num_inference_steps if step_seconds else cost_seconds * spec.cost
    return round((ahead * cost_seconds + running) / workers + own, 1)


def job_of_record(record: Mapping[str, str]) -> Job:
    """The job that a record's fields describe."""

    def seconds(field: str) -> float | None:
        return int(record[field]) / 1000 if record.get(field) else None

    return Job(
        id=record["id"],
        spec=JobSpec.read(record["spec"]),
        state=JobState(record["state"]),
        attempt=int(record["attempt"]),
        progress=int(record["progress"]),
        stage=record["stage"],
        step=int(record["step"]),
        steps_total=int(record["steps_total"]),
        created_at=int(record["created_ms"]) / 1000,
        started_at=seconds("started_ms"),
        completed_at=seconds("completed_ms"),
        expires_at=seconds("expires_ms"),
        worker=record.get("worker") or None,
        error=JobError.read(record["error"]) if record.get("error") else None,
        result=JobResult.read(record["result"]) if record.get("result") else None,
        cancel_requested=record.get("cancel_requested") == "1",
        owner=record.get("owner", ""),
        key_id=record.get("account", ""),
        device_seconds=int(record.get("device_ms", 0)) / 1000,
        request_id=record.get("request_id", ""),
        traceparent=record.get("traceparent", ""),
    )
