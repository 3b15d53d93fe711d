"""The page itself: who gets it, keys, gallery, refusals, phones, names for those who cannot see it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from service.access.keys import ApiKeys
from service.api.app import create_app
from service.jobs.connection import connect
from service.settings import Settings
from tests.api.gateway import Bench, listening
from tests.playground.conftest import opened
from tests.playground.test_tasks import choose, film, paint, submit

NAMED_ROLES = {"button", "checkbox", "combobox", "link", "radio", "slider", "spinbutton", "textbox", "progressbar"}


def test_browsers_get_the_page_and_programs_get_json(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False) as client:
        page = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http://" not in page.text and "https://" not in page.text, "nothing comes from elsewhere"
        for accept in ("application/json", "*/*"):
            assert client.get("/", headers={"Accept": accept}).json()["documentation"] == "/docs"
        assert client.get("/playground/main.js").headers["content-type"].startswith("text/javascript")
        for name in ("__init__.py", "nothing.js", "..%2f..%2fapp.py", "index.html"):
            assert client.get(f"/playground/{name}").status_code == 404


def test_cancel_seed_delete_and_what_the_service_refuses(page: Page) -> None:
    submit(page, "a green fish")
    card = page.locator("#cards > li").first
    card.get_by_role("button", name="Cancel").click()
    expect(card.locator(".badge")).to_have_text("Cancelled")
    card.get_by_role("button", name="Use seed").click()
    seed = httpx.get(f"{page.url}v1/videos", trust_env=False).json()["data"][0]["seed"]
    expect(page.get_by_label("Seed", exact=True)).to_have_value(str(seed))
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a green fish")
    page.get_by_label("Frames", exact=True).fill("9999")
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator("#problem")).to_contain_text("num_frames must be from 8 to 80")
    expect(page.get_by_label("Frames", exact=True)).to_be_focused()
    card.get_by_role("button", name="Delete").click()
    expect(page.locator("#cards > li")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_an_empty_gallery_has_prompts_to_begin_with(page: Page) -> None:
    page.get_by_role("button", name="a pink heart bouncing on the beach").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a pink heart bouncing on the beach")
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    expect(page.locator("#curl code")).to_contain_text("a pink heart")


def test_past_videos_come_page_by_page(chromium: Browser, url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False) as client:
        for number in range(15):
            client.post("/v1/text-to-video", json={"prompt": f"ball {number}"})
        for video in client.get("/v1/videos?limit=50").json()["data"]:
            client.post(f"/v1/videos/{video['id']}/cancel")
    with opened(chromium, url) as page:
        expect(page.locator("#cards > li")).to_have_count(12)
        page.get_by_role("button", name="Show older ones").click()
        expect(page.locator("#cards > li")).to_have_count(15)
        expect(page.locator("#more")).to_be_hidden()
        assert page.locator(".prompt").first.text_content() == "ball 14"


def test_a_service_with_keys_asks_for_one(
    chromium: Browser, settings: Settings, redis_url: str, bench: Bench, tmp_path: Path
) -> None:
    async def make_key() -> str:
        redis = connect(redis_url)
        _, token = await ApiKeys(redis).create()
        await redis.aclose()
        return token

    with ThreadPoolExecutor() as thread:  # this one has Playwright's event loop
        token = thread.submit(asyncio.run, make_key()).result()
    with listening(create_app(settings.model_copy(update={"auth": "keys"}))) as url:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(url)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        for key in ("lum_wrong", token):
            page.get_by_label("Key", exact=True).fill(key)
            page.get_by_role("button", name="Use it").click()
        page.wait_for_selector("body[data-ready]")
        expect(dialog).to_be_hidden()
        job_id = submit(page, "a ball")
        assert "$LUMIERE_API_KEY" in str(page.locator("#curl code").text_content())
        assert token not in page.content()
        bench.complete(bench.claim(job_id), film(tmp_path / "made.mp4"))
        page.wait_for_function("() => document.querySelector('#cards video').currentTime > 0.1")
        player = page.locator("#cards video")
        assert "&sig=" in str(player.get_attribute("src")), "a player sends no key: it has a signed link"
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.path().read_bytes() == (tmp_path / "made.mp4").read_bytes()
        context.close()


def test_a_finished_video_is_edited(page: Page, bench: Bench, tmp_path: Path) -> None:
    job_id = submit(page, "a ball")
    bench.complete(bench.claim(job_id), film(tmp_path / "made.mp4"))
    card = page.locator("#cards > li").first
    card.get_by_role("button", name="Edit").click()
    expect(page.locator("input[name=task][value=inpaint]")).to_be_checked()
    expect(page.locator("#paint")).to_be_visible()
    centre = "() => [...document.querySelector('#paint').getContext('2d').getImageData(4, 4, 1, 1).data]"
    red, _, blue, opaque = page.evaluate(centre)
    assert opaque == 255 and blue > red, "the video's own dark blue field is on the canvas"
    paint(page)
    job = bench.claim(submit(page, "a star"))
    assert (job.spec.task, job.spec.width) == ("inpaint", 128)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_colours(chromium: Browser, url: str, scheme: str, tmp_path: Path) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "color_scheme": scheme}
    film(tmp_path / "source.mp4")
    with opened(chromium, url, **phone) as page:
        choose(page, "inpaint")
        page.locator("#video").set_input_files(tmp_path / "source.mp4")
        expect(page.locator("#paint")).to_be_visible()
        submit_button = page.get_by_role("button", name="Make the video")
        expect(page.locator("#health")).to_have_text("not ready")
        title, service = page.locator("h1").bounding_box(), page.locator("nav").bounding_box()
        assert title is not None and service is not None
        assert service["y"] < title["y"] + title["height"], "the state of the service moves nothing down"
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        box = submit_button.bounding_box()
        assert box is not None and box["height"] >= 40
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        level = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) / 3
        assert level > 200 if scheme == "light" else level < 60


def test_colours_can_be_chosen_and_are_remembered(page: Page) -> None:
    button = page.locator("#theme")
    button.click()
    button.click()
    expect(button).to_have_accessible_name("Colours: dark")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_everything_that_can_be_used_has_a_name(page: Page, tmp_path: Path) -> None:
    submit(page, "a ball")
    page.get_by_text("More options").click()
    film(tmp_path / "source.mp4")
    for task in ("inpaint", "stylize", "cinemagraph"):
        choose(page, task)
        if task == "inpaint":
            page.locator("#video").set_input_files(tmp_path / "source.mp4")
            expect(page.locator("#paint")).to_be_visible()
        nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        named = 0
        for node in nodes:
            if not node["ignored"] and node["role"]["value"] in NAMED_ROLES:
                assert node["name"]["value"].strip(), node
                named += 1
        assert named > 15


def test_the_form_is_walked_by_keyboard(page: Page) -> None:
    page.locator("input[name=task]").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[value=image-to-video]")).to_be_checked()
    expect(page.locator("#image-drop")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.type("a ball")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#cards .prompt").first).to_have_text("a ball")
