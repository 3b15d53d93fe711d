"""How the threads of the horse wait for each other is settled before it starts, and an operator's word counts."""

import psutil
import pytest

from service.waiting_threads import SHORT_WAIT, with_short_wait
from tests.workers.conftest import StartWorker
from tests.workers.watching import until


@pytest.mark.parametrize("said", [{"GOMP_SPINCOUNT": "infinity"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_what_an_operator_says_counts(said: dict[str, str]) -> None:
    assert with_short_wait({"PATH": "/bin"}) == {"PATH": "/bin", **SHORT_WAIT}
    assert with_short_wait(said) == said


async def test_a_horse_is_told_to_wait_a_short_time(start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    worker = start_worker()
    found: list[psutil.Process] = []
    await until(lambda: found.extend(worker.horses()) or found)
    assert found[0].environ().items() >= SHORT_WAIT.items()
