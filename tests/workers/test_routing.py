"""Several models in one deployment: a job goes only to a worker that holds its model."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from service.jobs.admission import Priority
from service.jobs.contract import JobSpec, JobState
from service.jobs.record import JobRecords
from tests.model_folder import write_model_folder
from tests.workers.conftest import StartWorker, WorkerProcess
from tests.workers.watching import scripted, terminal_rows, until, until_ended, until_state

StartHolding = Callable[..., WorkerProcess]


@pytest.fixture
def start_holding(start_worker: StartWorker, tmp_path: Path) -> StartHolding:
    """Starts a worker that holds these models and no other."""

    def start(*models: str) -> WorkerProcess:
        return start_worker(model_dirs=[write_model_folder(tmp_path / model, id=model) for model in models])

    return start


def asks_for(model: str, seed: int = 7, **script: object) -> JobSpec:
    return scripted(seed=seed, **script).model_copy(update={"model": model})


async def until_held(records: JobRecords, **workers: int) -> None:
    async def held() -> bool:
        return await records.warm_workers(tuple(workers)) == workers

    while not await held():
        await asyncio.sleep(0.02)


def made_by(worker: WorkerProcess, name: str | None) -> bool:
    return name is not None and f"-{worker.pid}-" in name


async def test_each_job_is_made_by_the_worker_that_holds_its_model(
    records: JobRecords, start_holding: StartHolding, blocking: redis.Redis
) -> None:
    workers = {model: start_holding(model) for model in ("fox", "owl")}
    await until_held(records, fox=1, owl=1)
    # Of one model so many that the other one's worker would help out if it could.
    asked = ["fox"] * 6 + ["owl"] + ["fox"] * 2
    jobs = [(await records.accept(asks_for(model, seed))).job.id for seed, model in enumerate(asked)]
    for model, job_id in zip(asked, jobs, strict=True):
        ended = await until_ended(records, job_id)
        assert ended.state is JobState.COMPLETED
        assert made_by(workers[model], ended.worker)
        assert terminal_rows(job_id, blocking) == (1, 1)


async def test_workers_tell_which_weights_their_models_have(
    records: JobRecords, start_holding: StartHolding, tmp_path: Path
) -> None:
    assert await records.weights_of("fox") == ""
    told = []
    for content in (b"one", b"two"):
        unet = write_model_folder(tmp_path / "fox", id="fox") / "unet"
        unet.mkdir(exist_ok=True)
        (unet / "diffusion_pytorch_model.safetensors").write_bytes(content)
        worker = start_holding("fox")
        await until(lambda told=worker: "ready on" in told.log.read_text())
        worker.signal(signal.SIGTERM)
        worker.wait()
        told.append(await records.weights_of("fox"))
    assert len(set(told)) == 2 and all(told)


async def test_a_job_waits_for_a_worker_with_its_model(records: JobRecords, start_holding: StartHolding) -> None:
    start_holding("fox")
    lonely = (await records.accept(asks_for("owl"))).job
    fox = (await records.accept(asks_for("fox"))).job
    assert (lonely.queue_position, fox.queue_position) == (0, 0), "jobs of other models are not ahead"
    assert (await until_ended(records, fox.id)).state is JobState.COMPLETED
    waiting = await records.get(lonely.id)
    assert waiting is not None and (waiting.state, waiting.eta_seconds) == (JobState.QUEUED, None)
    owl = start_holding("owl")
    assert made_by(owl, (await until_ended(records, lonely.id)).worker)


async def test_a_job_of_a_dead_worker_goes_to_another_with_its_model(
    records: JobRecords, start_holding: StartHolding
) -> None:
    first, other, second = start_holding("fox"), start_holding("owl"), start_holding("fox", "owl")
    await until_held(records, fox=2, owl=2)
    running = [(await records.accept(asks_for("fox", step_seconds=0.2))).job.id for _ in range(2)]
    for job_id in running:
        await until_state(records, job_id, JobState.IN_PROGRESS)
    first.kill()
    for job_id in running:
        ended = await until_ended(records, job_id)
        assert ended.state is JobState.COMPLETED and not made_by(other, ended.worker)
        assert ended.attempt == 1 or made_by(second, ended.worker)


async def test_models_of_one_worker_take_turns_and_priority_goes_first(
    records: JobRecords, start_holding: StartHolding
) -> None:
    accepted = [(await records.accept(asks_for(model))).job.id for model in ["fox"] * 4 + ["owl"] * 2]
    urgent = (await records.accept(asks_for("owl"), priority=Priority.HIGH)).job.id
    start_holding("fox", "owl")
    ended = [await until_ended(records, job_id) for job_id in (*accepted, urgent)]
    in_order = sorted(ended, key=lambda job: job.started_at or 0)
    assert in_order[0].id == urgent
    assert "".join(job.spec.model[0] for job in in_order[1:]) in ("fofoff", "ofofff")


async def test_a_name_in_the_wrong_list_is_not_run(
    records: JobRecords, start_holding: StartHolding, blocking: redis.Redis
) -> None:
    worker = start_holding("fox")
    owl = (await records.accept(asks_for("owl"))).job
    name, misled = blocking.lindex("rq:queue:lumiere.owl", 0), "rq:queue:lumiere.fox"
    blocking.rpush(misled, str(name))
    await until(lambda: "is not to be run" in worker.log.read_text())
    waiting = await records.get(owl.id)
    assert waiting is not None and (waiting.state, waiting.attempt) == (JobState.QUEUED, 0)
    assert made_by(start_holding("owl"), (await until_ended(records, owl.id)).worker)
