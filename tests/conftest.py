"""What every test shares. Tiny models gain nothing from threads, and test processes would fight over the cores."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.live import LiveStack

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> None:
    """The settings of whoever runs the tests must not reach them."""
    for name in [name for name in os.environ if name.startswith("LUMIERE_")]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def in_float32() -> Iterator[None]:
    """Processors that compute in bfloat16 would have every model here in it, and pixels equal to fewer digits than the
    tests compare. Processes that the tests start are in what their processor is quick at.
    """
    import torch

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
            patch.setattr(torch.cpu, name, lambda: False)
        yield


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Redis, on a machine that is busy with other things; tests of outages hold the true times."""
    from service.jobs import connection

    monkeypatch.setattr(connection, "DEADLINE_SECONDS", 30.0)
    monkeypatch.setattr(connection, "TIMEOUT_SECONDS", 30.0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model folder with random weights that makes a small video in a second or two."""
    from tests.model.tiny import save_tiny_pipeline  # imports torch: only for tests that run the model

    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_tiny_pipeline(folder)
    return folder


@pytest.fixture(scope="session")
def live_stack(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[LiveStack]:
    """`lumiere serve` with the tiny model, for tests that leave it as they found it."""
    stack = LiveStack(tmp_path_factory.mktemp("stack"), tiny_model).start()
    yield stack
    stack.stop()
