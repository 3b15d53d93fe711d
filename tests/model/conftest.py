from pathlib import Path

import pytest

from model.pipeline import LumierePipeline
from tests.model.tiny import save_tiny_pipeline


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """For reading only."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def pipeline(tiny_folder) -> LumierePipeline:
    return LumierePipeline.from_pretrained(tiny_folder, device="cpu")
