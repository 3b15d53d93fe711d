"""The page in a real Chromium, on a real gateway and Redis; `bench` does what a worker would do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from service.api.app import create_app
from service.settings import Settings
from tests.api.conftest import bench, quiet_log, redis_url, shared_redis
from tests.api.gateway import CARD, listening, write_card

__all__ = ["bench", "quiet_log", "redis_url", "shared_redis"]

PATIENCE_MS = 30_000
"""A busy machine decodes a video, or lays out a page, when it gets to it."""
expect.set_options(timeout=PATIENCE_MS)
TASKS = ["text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize"]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """CHROMIUM, else chromium or google-chrome on PATH. No longer than for this folder: it occupies the event loop."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no browser: install chromium, or set CHROMIUM to the path of one")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    card = write_card(tmp_path / "model", {**CARD, "tasks": TASKS})
    return Settings(redis_url=redis_url, data_dir=tmp_path / "data", model_dirs=[card])


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with listening(create_app(settings)) as address:
        yield address


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """The page, loaded; whatever it logs as an error fails the test."""
    context = browser.new_context(accept_downloads=True, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: note(message, errors))
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    assert errors == []


def note(message: ConsoleMessage, errors: list[str]) -> None:
    """Refused requests are part of the tests; what the browser itself objects to is not."""
    if message.type == "error" and "Failed to load resource" not in message.text:
        errors.append(message.text)


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    with opened(chromium, url, viewport={"width": 1280, "height": 900}) as page:
        yield page
