"""While a job runs its viewers see what becomes of it: the estimate of the finished video, small."""

import io
from pathlib import Path

import pytest
from PIL import Image

from model.pipeline import LumierePipeline
from service.jobs.contract import JobSpec
from tests.jobs.examples import example_spec
from workers import runtime
from workers.inputs import Inputs


@pytest.fixture(scope="module")
def pipeline(tiny_model: Path) -> LumierePipeline:
    return LumierePipeline.from_pretrained(tiny_model)


def pictures_of(pipeline: LumierePipeline, spec: JobSpec) -> list[bytes]:
    """What is told after each step."""
    told = []

    def on_step(stage: str, step: int, steps: int, preview: bytes = b"") -> None:
        if stage == "denoise" and step:
            told.append(preview)

    runtime.render(pipeline, spec, Inputs(), on_step)
    return told


def test_previews(pipeline: LumierePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "PREVIEW_SECONDS", 0.0)
    *during, last = pictures_of(pipeline, example_spec(num_inference_steps=4))

    assert last == b"", "the video itself follows"
    assert len(during) == 3
    for content in during:
        picture = Image.open(io.BytesIO(content))
        assert (picture.format, picture.n_frames) == ("WEBP", 8)  # type: ignore[attr-defined]
        assert max(picture.size) <= 96
    assert during[0] != during[-1]


def test_they_are_few(pipeline: LumierePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "PREVIEW_SECONDS", 3600.0)

    assert set(pictures_of(pipeline, example_spec(num_inference_steps=4))) == {b""}
