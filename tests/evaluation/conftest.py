from pathlib import Path

import pytest

from tests.model.tiny import save_tiny_pipeline


@pytest.fixture(scope="package")
def tiny_folder(tmp_path_factory) -> Path:
    """For reading only."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("model") / "tiny")
