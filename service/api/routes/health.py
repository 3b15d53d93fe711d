"""`/livez` says that the process runs, `/readyz` that a job sent now would be worked on."""

import asyncio
from collections.abc import Awaitable

import structlog
from fastapi import APIRouter

from service.api.errors import OUTAGE_RETRY_SECONDS, ApiError
from service.api.openapi import problems
from service.api.resources import Held, Resources
from service.api.schemas import Alive, Check, Ready
from service.jobs.connection import DEADLINE_SECONDS, RedisUnavailable, deadline
from service.jobs.contract import WorkerInfo
from service.storage import StorageError

router = APIRouter(tags=["health"])
log = structlog.get_logger(__name__)

WARM = ("ready", "busy")


@router.get("/livez", summary="Is the process alive?", responses=problems())
@router.head("/livez", include_in_schema=False)
async def livez() -> Alive:
    """Asks nothing of Redis, storage or workers: restarting the gateway would not mend those."""
    return Alive()


@router.get("/readyz", summary="Will a job be worked on?", responses=problems("not_ready"))
@router.head("/readyz", include_in_schema=False)
async def readyz(held: Held) -> Ready:
    """Ready when Redis answers, storage takes an object, and each model is held warm by a worker."""
    names = ("redis", "storage", "worker")
    results = await asyncio.gather(check(ask_redis(held)), check(ask_storage(held)), check(ask_workers(held)))
    checks = dict(zip(names, results, strict=True))
    failed = [name for name, result in checks.items() if not result.ok]
    if failed:
        raise ApiError(
            "not_ready",
            "; ".join(f"{name}: {checks[name].detail}" for name in failed),
            retry_after=OUTAGE_RETRY_SECONDS,
            extra={"checks": {name: result.model_dump() for name, result in checks.items()}},
        )
    return Ready(checks=checks)


class NotReady(Exception):
    """The message says why."""


async def check(answer: Awaitable[str]) -> Check:
    """The outcome of one question, within the deadline; what failed is told in words that hold no secrets."""
    try:
        async with deadline():
            return Check(ok=True, detail=await answer)
    except NotReady as reason:
        return Check(ok=False, detail=str(reason))
    except TimeoutError:
        return Check(ok=False, detail=f"no answer within {DEADLINE_SECONDS:g} seconds")
    except (RedisUnavailable, StorageError) as error:
        log.warning("not_ready", reason=str(error))
        return Check(ok=False, detail="does not answer")


async def ask_redis(held: Resources) -> str:
    if held.reaper.done():
        raise NotReady("the reaper of this gateway has died")
    await held.records.ping()
    return "answers"


async def ask_storage(held: Resources) -> str:
    await held.storage.probe()
    return "takes objects"


async def ask_workers(held: Resources) -> str:
    warm = await held.records.warm_workers(tuple(held.catalogue))
    unheld = [model for model, workers in warm.items() if not workers]
    if unheld:
        workers = [worker for worker in await held.records.live_workers() if worker.state not in WARM]
        reasons = "; ".join(map(cold, workers)) or "no worker is running"
        raise NotReady(reasons if len(unheld) == len(warm) else f"no worker holds {', '.join(unheld)}; {reasons}")
    return ", ".join(f"{model}: {workers} warm" for model, workers in warm.items())


def cold(worker: WorkerInfo) -> str:
    return f"{worker.name} is {worker.state}" + (f" ({worker.detail})" if worker.detail else "")
