"""The system's Chromium, driven by playwright; without it, tests that need it are skipped."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Frame, Page, Playwright, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
OPTIONS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--autoplay-policy=no-user-gesture-required",
]


@contextmanager
def started_playwright() -> Iterator[Playwright]:
    if not CHROMIUM:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as started:
        yield started


def launch(playwright: Playwright, *options: str) -> Browser:
    return playwright.chromium.launch(
        executable_path=CHROMIUM, args=[*OPTIONS, *options], timeout=120_000
    )


def new_page(chromium: Browser, *, width: int = 480, height: int = 420) -> Page:
    """Return an empty page; an error in the code of what it opens fails the test."""
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    return page


def wait_until(page: Page | Frame, condition: str) -> None:
    """Wait for a JavaScript condition without evaluating a string, which the page forbids."""
    page.evaluate(
        f"""() => new Promise((resolve) => {{
          const check = () => (({condition}) ? resolve() : requestAnimationFrame(check));
          check();
        }})"""
    )
