"""Inputs come from the storage as they were uploaded, or not at all."""

import hashlib
from pathlib import Path

import pytest

from service.jobs.contract import JobSpec, MediaRef
from service.storage import Storage
from tests.jobs.examples import example_spec
from workers.inputs import InputLost, fetch_inputs


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.in_folder(tmp_path / "store")


def stored(storage: Storage, folder: Path, name: str, media_type: str) -> MediaRef:
    content = name.encode() * 100_000
    path = folder / name
    path.write_bytes(content)
    storage.put_file(path, f"uploads/{name}")
    digest = hashlib.sha256(content).hexdigest()
    return MediaRef(key=f"uploads/{name}", media_type=media_type, sha256=digest, bytes=len(content))


def inpaint(video: MediaRef, mask: MediaRef) -> JobSpec:
    return example_spec(task="inpaint", options={"task": "inpaint", "video": video, "mask": mask})


def test_every_input_is_fetched_by_its_role(storage: Storage, tmp_path: Path) -> None:
    video = stored(storage, tmp_path, "video", "video/webm")
    pictures = [stored(storage, tmp_path, name, "image/png") for name in ("first", "last")]
    folder = tmp_path / "work"

    inputs = fetch_inputs(inpaint(video, pictures[0]), storage, folder)
    assert inputs.video is not None and inputs.mask is not None
    assert (inputs.video.name, inputs.mask.name) == ("video.webm", "mask.png")
    assert inputs.video.read_bytes() == (tmp_path / "video").read_bytes()

    keyframes = [{"image": picture, "frame": frame} for picture, frame in zip(pictures, (0, -1), strict=True)]
    spec = example_spec(task="image-to-video", options={"task": "image-to-video", "keyframes": keyframes})
    inputs = fetch_inputs(spec, storage, folder)
    assert [path.name for path in inputs.keyframes] == ["image.png", "last_image.png"]
    assert [path.read_bytes() for path in inputs.keyframes] == [
        (tmp_path / name).read_bytes() for name in ("first", "last")
    ]


def test_jobs_of_text_have_none(storage: Storage, tmp_path: Path) -> None:
    inputs = fetch_inputs(example_spec(), storage, tmp_path)

    assert (inputs.image, inputs.video, inputs.mask, inputs.keyframes) == (None, None, None, ())


def test_a_deleted_input_is_named(storage: Storage, tmp_path: Path) -> None:
    video, mask = stored(storage, tmp_path, "v", "video/mp4"), stored(storage, tmp_path, "m", "image/png")
    storage.remove(mask.key)

    with pytest.raises(InputLost, match="mask: the file was deleted"):
        fetch_inputs(inpaint(video, mask), storage, tmp_path)


def test_a_changed_input_is_refused(storage: Storage, tmp_path: Path) -> None:
    video, mask = stored(storage, tmp_path, "v", "video/mp4"), stored(storage, tmp_path, "m", "image/png")

    with pytest.raises(InputLost, match="video: the stored file is not the one"):
        fetch_inputs(inpaint(video.model_copy(update={"sha256": "0" * 64}), mask), storage, tmp_path)
