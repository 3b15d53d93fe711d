"""The page at `/docs`: it shows the OpenAPI document, and asks nobody but the gateway for it."""

from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, expect

from tests.playground.conftest import opened


def test_every_operation_is_shown_and_nothing_is_loaded_from_elsewhere(chromium: Browser, url: str) -> None:
    document = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    operations = {one["operationId"] for methods in document["paths"].values() for one in methods.values()}
    hosts = set[str]()
    with opened(chromium, f"{url}/docs") as page:
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.reload()
        expect(page.locator("#reference")).to_have_attribute("aria-busy", "false")
        shown = page.locator("#reference details[id]").evaluate_all("all => all.map((one) => one.id)")
        page.locator("#image_to_video summary").click()
        expect(page.locator("#image_to_video").get_by_text("last_image").first).to_be_visible()

    assert operations <= set(shown)
    assert hosts == {urlsplit(url).netloc}
