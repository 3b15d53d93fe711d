"""From a job's spec and its input files to a clip, for every task, with real files and a real pipeline."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from model.pipeline import LumierePipeline
from model.video_io import write_mp4
from service.jobs.contract import JobSpec, MediaRef, Task
from tests.jobs.examples import example_spec
from workers.inputs import Inputs
from workers.pipeline_calls import TASKS, learn_style

SIZE = {"width": 32, "height": 32, "num_inference_steps": 2, "num_frames": 6, "fps": 8}
MEDIA = MediaRef(key="uploads/x", media_type="image/png", sha256="0" * 64, bytes=1)


@pytest.fixture(scope="module")
def pipeline(tiny_model: Path) -> LumierePipeline:
    return LumierePipeline.from_pretrained(tiny_model, device="cpu")


def spec_of(task: str, **options: Any) -> JobSpec:
    return example_spec(task=task, options={"task": task, **options} if options else None, **SIZE)


def frames_of(pipeline: LumierePipeline, spec: JobSpec, inputs: Inputs) -> np.ndarray:
    steps: list[int] = []
    clip = TASKS[spec.task](pipeline, spec, inputs, lambda info: steps.append(info.step))
    assert steps
    frames: np.ndarray = clip.frames
    return frames


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    levels = np.arange(40, 240, 20, dtype=np.uint8)
    write_mp4(levels[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8), tmp_path / "film.mp4", 8)
    return tmp_path / "film.mp4"


def painted(folder: Path, columns: slice, size: int = 32) -> Path:
    pixels = np.zeros((size, size), np.uint8)
    pixels[:, columns] = 255
    Image.fromarray(pixels).save(folder / "mask.png")
    return folder / "mask.png"


def test_every_task_of_the_contract_has_its_call() -> None:
    assert set(TASKS) == set(get_args(Task))


def test_text_to_video(pipeline: LumierePipeline) -> None:
    assert frames_of(pipeline, spec_of("text-to-video"), Inputs()).shape == (6, 32, 32, 3)


def test_image_to_video(pipeline: LumierePipeline, picture: Path) -> None:
    spec = spec_of("image-to-video", keyframes=[{"image": MEDIA, "frame": 2}, {"image": MEDIA, "frame": -1}])

    frames = frames_of(pipeline, spec, Inputs(keyframes=(picture, picture)))

    given = np.asarray(Image.open(picture))
    assert [np.array_equal(frame, given) for frame in frames] == [False, False, True, False, False, True]


def test_inpaint_with_mask_boxes_and_times(pipeline: LumierePipeline, film: Path, tmp_path: Path) -> None:
    """The mask opens the left quarter for the whole film, the box the right quarter for its first two frames."""
    mask = painted(tmp_path, slice(0, 4), size=16)
    box = {"x": 0.75, "y": 0, "width": 0.25, "height": 1, "end": 0.25}
    spec = spec_of("inpaint", video=MEDIA, mask=MEDIA, boxes=[box])

    frames = frames_of(pipeline, spec, Inputs(video=film, mask=mask)).astype(int)

    source = np.arange(40, 160, 20)[:, None, None, None]
    kept = (np.abs(frames - source) <= 4).all(-1)
    assert kept[:, :, 8:24].all()
    assert kept[2:, :, 24:].all()
    assert not kept[:, :, :8].all()
    assert not kept[:2, :, 24:].all()


def test_inpaint_with_a_mask_video_that_is_too_short(pipeline: LumierePipeline, film: Path, tmp_path: Path) -> None:
    moving = np.zeros((3, 64, 64, 3), np.uint8)
    moving[0, :, :32] = moving[1:, :, 32:] = 255
    write_mp4(moving, tmp_path / "mask.mp4", 8)

    frames = frames_of(
        pipeline, spec_of("inpaint", video=MEDIA, mask=MEDIA), Inputs(video=film, mask=tmp_path / "mask.mp4")
    ).astype(int)

    kept = (np.abs(frames - np.arange(40, 160, 20)[:, None, None, None]) <= 4).all(-1)
    assert kept[0, :, 18:].all()
    assert kept[1:, :, :14].all()
    assert not kept[5, :, 20:].all()


def test_a_short_source_makes_a_short_video(pipeline: LumierePipeline, film: Path) -> None:
    spec = spec_of("inpaint", video=MEDIA, expand={"top": 0.5}).model_copy(update={"num_frames": 80})

    assert len(frames_of(pipeline, spec, Inputs(video=film))) == 10


def test_cinemagraph(pipeline: LumierePipeline, picture: Path, tmp_path: Path) -> None:
    mask = painted(tmp_path, slice(16, 32))

    frames = frames_of(
        pipeline, spec_of("cinemagraph", image=MEDIA, mask=MEDIA, loop=True), Inputs(image=picture, mask=mask)
    )

    given = np.asarray(Image.open(picture))
    assert (frames[:, :, :16] == given[:, :16]).all()
    assert (frames[:, :, 16:] != given[:, 16:]).any((1, 2, 3)).all()


def test_stylize_a_video(pipeline: LumierePipeline, film: Path) -> None:
    assert len(frames_of(pipeline, spec_of("stylize", video=MEDIA, strength=0.5), Inputs(video=film))) == 6


def test_a_style_is_learned_and_used_by_its_file(pipeline: LumierePipeline, picture: Path, tmp_path: Path) -> None:
    learning = spec_of("style", image=MEDIA, style_id="style_" + "a" * 26, shows="a cat")
    steps: list[int] = []
    learn_style(pipeline, learning, Inputs(image=picture), tmp_path / "weights", lambda info: steps.append(info.step))
    assert steps == [1, 2]

    plain = frames_of(pipeline, spec_of("text-to-video"), Inputs())
    for task in ("text-to-video", "stylize"):
        spec = spec_of(task, style="mine", style_weights=MEDIA)
        assert not np.array_equal(frames_of(pipeline, spec, Inputs(style=tmp_path / "weights")), plain)
    unused = spec_of("text-to-video", style="mine", style_weights=MEDIA, style_strength=0.0)
    assert np.array_equal(frames_of(pipeline, unused, Inputs(style=tmp_path / "weights")), plain)


def test_inputs_that_cannot_be_used_are_named(pipeline: LumierePipeline, tmp_path: Path, picture: Path) -> None:
    (tmp_path / "image.png").write_bytes(picture.read_bytes()[:80])
    spec = spec_of("image-to-video", keyframes=[{"image": MEDIA, "frame": 0}])

    with pytest.raises(ValueError, match=r"image\.png is not a readable"):
        frames_of(pipeline, spec, Inputs(keyframes=(tmp_path / "image.png",)))
    with pytest.raises(ValueError, match="style must be one of"):
        frames_of(pipeline, spec_of("stylize", style="oil"), Inputs())
