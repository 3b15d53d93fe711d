"""Each task through the page of `lumiere serve`, by a real worker with a tiny model, to the playing video."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.playground.conftest import TASKS, opened
from tests.playground.test_tasks import choose, film, paint, submit
from tests.stack.live import LiveStack

pytestmark = pytest.mark.timeout(600)
OPTIONS = {"Frames": "8", "Frames per second": "8", "Steps": "2"}
BRIGHT = """player => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [player.videoWidth, player.videoHeight];
    const context = canvas.getContext("2d");
    context.drawImage(player, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return Math.max(...data.filter((_, place) => place % 4 < 3));
}"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    Image.new("RGB", (64, 64), "orange").save(folder / "image.png")
    film(folder / "video.mp4")
    return {"image": folder / "image.png", "video": folder / "video.mp4"}


def fill(page: Page, task: str, sources: dict[str, Path]) -> None:
    choose(page, task)
    field = {"image-to-video": "image", "cinemagraph": "image", "inpaint": "video", "stylize": "video"}.get(task)
    if field is not None:
        page.locator(f"#{field}").set_input_files(sources[field])
    if task in ("inpaint", "cinemagraph"):
        expect(page.locator("#paint")).to_be_visible()
        paint(page)


def test_every_task_plays_in_the_end(chromium: Browser, live_stack: LiveStack, sources: dict[str, Path]) -> None:
    with opened(chromium, live_stack.url, viewport={"width": 1280, "height": 900}) as page:
        page.get_by_text("More options").click()
        for name, value in OPTIONS.items():
            page.get_by_label(name, exact=True).fill(value)
        for task in TASKS:
            fill(page, task, sources)
            job_id = submit(page, f"{task} of a ball")
            card = page.locator(f"#cards > [data-id={job_id}]")
            expect(card.locator(".badge")).to_have_text("Done", timeout=120_000)
            card.scroll_into_view_if_needed()
            player = card.locator("video")
            page.wait_for_function("player => player.currentTime > 0.1", arg=player.element_handle())
            assert player.evaluate("player => [player.videoWidth, player.videoHeight]") == [64, 64]
            assert player.evaluate(BRIGHT) > 30, "something is to be seen"
            assert live_stack.http.get(f"/v1/videos/{job_id}").json()["task"] == task
            card.get_by_role("button", name="Delete").click()
            expect(card).to_have_count(0)
