"""Each task from the form to the playing video, as a person does it."""

import hashlib
import io
import json
import shlex
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from service.api.app import create_app
from service.jobs.attempts import Progress
from service.jobs.contract import Job, JobResult
from service.settings import Settings
from service.storage import output_key
from tests.api.gateway import Bench, listening
from tests.playground.conftest import opened

PREVIEW = io.BytesIO()
Image.new("RGB", (32, 32), "teal").save(PREVIEW, "WEBP")


def film(path: Path, size: int = 64) -> bytes:
    """An MP4 as a worker makes it: a bright square that crosses a dark field."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(16):
            frame = np.full((size, size, 3), (30, 30, 60), np.uint8)
            frame[20:44, number * 2 : number * 2 + 24] = (240, 170, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    film(tmp_path / "source.mp4")
    return tmp_path / "source.mp4"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (120, 80), "steelblue").save(tmp_path / "sea.png")
    return tmp_path / "sea.png"


def choose(page: Page, task: str) -> None:
    """By a click on what is seen of it; the browser waits until it stands still."""
    radio = page.locator(f"input[name=task][value={task}]")
    page.locator("label", has=radio).click()
    expect(radio).to_be_checked()


def submit(page: Page, prompt: str) -> str:
    """The id of the job that the form has made."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Make the video").click()
    card = page.locator("#cards > li").first
    expect(card.locator(".prompt")).to_have_text(prompt)
    return str(card.get_attribute("data-id"))


def paint(page: Page) -> None:
    """A stroke across the middle."""
    canvas = page.locator("#paint")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()


def work(bench: Bench, job_id: str, folder: Path) -> Job:
    """What a worker does for the job."""
    job = bench.claim(job_id)
    bench.attempts.beat(job, Progress("denoise", 8, 20, 40, 12.0, True, PREVIEW.getvalue()))
    return job


def finish(bench: Bench, job: Job, folder: Path) -> None:
    bench.complete(job, film(folder / "made.mp4"))


def mask_of(bench: Bench, job: Job) -> np.ndarray:
    options = job.spec.options
    assert options is not None and options.mask is not None  # type: ignore[union-attr]
    return np.asarray(Image.open(bench.folder / options.mask.key).convert("L"))  # type: ignore[union-attr]


def test_text_to_video_live_to_its_end(page: Page, bench: Bench, tmp_path: Path) -> None:
    choose(page, "text-to-video")
    page.get_by_text("More options").click()
    page.get_by_label("Seed", exact=True).fill("42")
    page.get_by_label("Frames", exact=True).fill("16")
    job_id = submit(page, "a red ball on a beach")
    card = page.locator("#cards > li").first
    expect(card.locator(".state")).to_contain_text("Next in the queue")
    job = work(bench, job_id, tmp_path)
    assert (job.spec.task, job.spec.seed, job.spec.num_frames) == ("text-to-video", 42, 16)
    expect(card.locator(".badge")).to_have_text("Being made")
    expect(card.locator(".state")).to_contain_text("step 8 of 20")
    expect(card.locator("progress")).to_have_js_property("value", 40)
    expect(card.locator(".still")).to_be_visible()  # the preview
    finish(bench, job, tmp_path)
    expect(card.locator(".badge")).to_have_text("Done")
    expect(page.locator("#announce")).to_have_text("Done: a red ball on a beach")
    page.wait_for_function("() => document.querySelector('#cards video').currentTime > 0.1")
    with page.expect_download() as download:
        card.get_by_role("button", name="Download").click()
    assert download.value.path().read_bytes() == (tmp_path / "made.mp4").read_bytes()


def test_image_to_video(page: Page, bench: Bench, picture: Path) -> None:
    choose(page, "image-to-video")
    page.locator("#image").set_input_files(picture)
    expect(page.locator("#image-shown")).to_be_visible()
    job = bench.claim(submit(page, "waves roll in"))
    keyframe = job.spec.options.keyframes[0]  # type: ignore[union-attr]
    assert keyframe.frame == 0
    assert (bench.folder / keyframe.image.key).read_bytes() == picture.read_bytes()


def test_inpaint_with_a_painted_mask(page: Page, bench: Bench, movie: Path, tmp_path: Path) -> None:
    choose(page, "inpaint")
    expect(page.locator("#painter")).to_be_hidden()
    page.locator("#video").set_input_files(movie)
    expect(page.locator("#paint")).to_be_visible()
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator("#problem")).to_have_text("Say in the prompt what the video shows.")
    page.get_by_label("Prompt", exact=True).fill("a blue star")
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator("#problem")).to_have_text("Paint over a part of the picture.")
    paint(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save").click()
    job = work(bench, submit(page, "a blue star"), tmp_path)
    mask = mask_of(bench, job)
    assert saved.value.suggested_filename == "mask.png"
    assert (np.asarray(Image.open(saved.value.path()).convert("L")) == mask).all()
    assert mask.shape == (64, 64) and set(np.unique(mask)) <= {0, 255}
    assert mask[32, 32] == 255 and mask[32, 20] == 255
    assert mask[4].max() == mask[60].max() == 0
    finish(bench, job, tmp_path)
    expect(page.locator("#cards .badge").first).to_have_text("Done")


def test_cinemagraph_painted_with_the_keyboard(page: Page, bench: Bench, picture: Path) -> None:
    choose(page, "cinemagraph")
    page.locator("#image").set_input_files(picture)
    canvas = page.locator("#paint")
    canvas.focus()
    for key in ("ArrowLeft", "Space", "Shift+ArrowRight", "Space", "Space", "z"):
        page.keyboard.press(key)
    page.get_by_label("End where it begins").check()
    job = bench.claim(submit(page, "clouds drift"))
    mask = mask_of(bench, job)
    assert mask.shape == (80, 120)
    assert mask[40, 56] == 255 and mask[0].max() == 0
    assert job.spec.options.loop is True  # type: ignore[union-attr]


def test_stylize_keeps_the_motion(page: Page, bench: Bench, movie: Path) -> None:
    choose(page, "stylize")
    page.locator("#video").set_input_files(movie)
    expect(page.locator("#video-shown")).to_be_visible()
    page.locator("input[name=strength]").fill("0.8")
    job = bench.claim(submit(page, "origami"))
    assert job.spec.options.strength == 0.8  # type: ignore[union-attr]
    assert job.spec.options.video is not None  # type: ignore[union-attr]


def learned(bench: Bench, style: dict[str, Any]) -> None:
    """What a worker does for the job of a style."""
    job = bench.claim(style["job"])
    key = output_key(job.spec.task, job.id, job.attempt)
    bench.storage.put_file(io.BytesIO(b"weights"), key)
    facts = {"width": 128, "height": 128, "num_frames": 1, "fps": 16, "duration_seconds": 0.1}
    result = JobResult(path=key, bytes=7, sha256=hashlib.sha256(b"weights").hexdigest(), **facts)  # type: ignore[arg-type]
    assert bench.attempts.complete(job, result)


def test_styles_learned_from_a_picture_stand_beside_the_models(
    chromium: Browser, settings: Settings, bench: Bench, picture: Path
) -> None:
    shipped = settings.model_dirs[0] / "styles/melting-gold/weights.safetensors"
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    with listening(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        made = [
            client.post(
                "/v1/styles", data={"name": name}, files={"image": (name, picture.read_bytes() + name.encode())}
            )
            for name in ("done", "waits", "given-up")
        ]
        done, _, given_up = (answer.json() for answer in made)
        learned(bench, done)
        client.post(f"/v1/videos/{given_up['job']}/cancel")
        with opened(chromium, url) as page:
            choose(page, "stylize")
            select = page.locator("select[name=style]")
            expect(select.locator("optgroup")).to_have_count(2)
            assert [group.get_attribute("label") for group in select.locator("optgroup").all()] == [
                "Of the model",
                "Learned from a picture",
            ]
            expect(select.locator("option")).to_have_text(
                ["none: the prompt alone", "melting-gold", "waits (learned to 0 %)", "done"]
            )
            expect(select.locator("option[value=waits]")).to_be_disabled()
            select.select_option("done")
            expect(page.locator("#curl code")).to_contain_text("style=done")
            choose(page, "text-to-video")
            choose(page, "stylize")
            expect(select).to_have_value("done")
            job = bench.claim(submit(page, "a ball"))

    assert job.spec.options.style == "done"  # type: ignore[union-attr]


def test_the_curl_command_makes_the_same_job(page: Page, url: str) -> None:
    page.get_by_label("Prompt", exact=True).fill('it\'s a "red" ball')
    words = shlex.split(str(page.locator("#curl code").text_content()).replace("\\\n", " "))
    assert words[:2] == ["curl", f"{url}/v1/text-to-video"]
    assert json.loads(words[words.index("-d") + 1]) == {"prompt": 'it\'s a "red" ball'}
