from pathlib import Path

import pytest

from model.backbones.inflate import inflate_folder
from model.pipeline import LumierePipeline
from tests.backbones.folders import FAMILIES, make_image_pipeline


class Inflated:
    """An image pipeline of diffusers, its folder, the folder inflated from it and the pipeline loaded from that."""

    def __init__(self, family: str, scratch: Path) -> None:
        self.family = family
        self.image = make_image_pipeline(family, scratch / "tokenizer")
        self.source, self.folder = scratch / "image", scratch / f"video-{family}"
        self.image.save_pretrained(self.source)
        inflate_folder(self.source, self.folder, temporal_attention_depth=1)
        self.pipeline = LumierePipeline.from_pretrained(self.folder, device="cpu")


@pytest.fixture(scope="session")
def inflated_families(tmp_path_factory) -> dict[str, Inflated]:
    return {}


@pytest.fixture(params=FAMILIES)
def inflated(request, inflated_families, tmp_path_factory) -> Inflated:
    """For reading only; each family is made once."""
    family = request.param
    if family not in inflated_families:
        inflated_families[family] = Inflated(family, tmp_path_factory.mktemp(family))
    return inflated_families[family]
