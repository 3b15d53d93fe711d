"""What a job may ask for, and how records of other releases are read."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from service.jobs.contract import InpaintOptions, JobSpec
from tests.jobs.examples import example_spec

MEDIA = {"key": "uploads/file_a", "media_type": "video/mp4", "sha256": "0" * 64, "bytes": 12}
BOX = {"x": 0.1, "y": 0.2, "width": 0.5, "height": 0.5}

TASKS: dict[str, dict[str, Any]] = {
    "image-to-video": {"keyframes": [{"image": MEDIA, "frame": 0}, {"image": MEDIA, "frame": -1}]},
    "inpaint": {"video": MEDIA, "boxes": [{**BOX, "start": 0.5, "end": 2}]},
    "cinemagraph": {"image": MEDIA, "mask": MEDIA, "loop": True},
    "stylize": {"style": "watercolor"},
}


@pytest.mark.parametrize("task", TASKS)
def test_options_survive_storage(task: str) -> None:
    spec = example_spec(task=task, options={"task": task, **TASKS[task]})

    assert JobSpec.read(spec.model_dump_json()) == spec


def test_fields_of_a_newer_release_are_ignored_at_every_depth() -> None:
    spec = example_spec(task="inpaint", options={"task": "inpaint", **TASKS["inpaint"]})
    newer = json.loads(spec.model_dump_json())
    newer["later"] = newer["options"]["later"] = newer["options"]["video"]["later"] = 1

    assert JobSpec.read(json.dumps(newer)) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "stylize"},
        {"task": "stylize", "options": {"task": "inpaint", **TASKS["inpaint"]}},
        {"task": "inpaint", "options": {"task": "inpaint", "video": MEDIA}},
        {"task": "inpaint", "options": {"task": "inpaint", "video": MEDIA, "boxes": [{**BOX, "start": 2, "end": 1}]}},
        {"task": "inpaint", "options": {"task": "inpaint", "video": MEDIA, "boxes": [{**BOX, "x": float("nan")}]}},
        {"task": "inpaint", "options": {"task": "inpaint", "video": MEDIA, "expand": {"left": 0.5, "right": 0.5}}},
        {"task": "inpaint", "options": {"task": "inpaint", "video": MEDIA, "expand": {}}},
        {"task": "inpaint", "options": {"task": "inpaint", "video": {**MEDIA, "key": "../secret"}, "boxes": [BOX]}},
        {"task": "cinemagraph", "options": {"task": "cinemagraph", "image": MEDIA}},
        {"task": "stylize", "options": {"task": "stylize"}},
        {"task": "image-to-video", "options": {"task": "image-to-video", "keyframes": []}},
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        example_spec(**changes)


def test_a_job_without_options_is_one_of_text() -> None:
    assert example_spec().options is None
    assert isinstance(
        example_spec(task="inpaint", options={"task": "inpaint", **TASKS["inpaint"]}).options, InpaintOptions
    )
