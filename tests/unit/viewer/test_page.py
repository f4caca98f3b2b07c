"""The page in Chromium: the figure follows the audio, parts can be stopped, nothing is loaded."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright

from tests.helpers.chromium import launch, new_page, started_playwright, wait_until

pytestmark = [pytest.mark.slow]

LARGEST_DRIFT = 0.05
"""Seconds between audio and figure that nobody notices."""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with started_playwright() as started:
        yield started


def open_page(chromium: Browser, address: str) -> Page:
    page = new_page(chromium)
    page.goto(address)
    page.wait_for_selector("body[data-ready='0']")
    return page


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    with launch(playwright) as started:
        yield started


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    opened = open_page(chromium, address)
    yield opened
    opened.close()


def state(page: Page) -> dict[str, Any]:
    """Return time, shown time and median drift of the next eleven pictures.

    The median, because a busy machine may interrupt the page between setting figure and clock.
    """
    return page.evaluate(
        """async () => {
          const drifts = [];
          for (let k = 0; k < 11; k += 1) {
            await new Promise(requestAnimationFrame);
            drifts.push(Math.abs(player.drift));
          }
          drifts.sort((a, b) => a - b);
          return {time: player.time, shown: player.shown, drift: drifts[5]};
        }"""
    )


def test_the_figure_stays_with_the_audio(page: Page) -> None:
    page.click("#play")
    wait_until(page, "player.time > 0.3")
    assert state(page)["drift"] <= LARGEST_DRIFT
    # The slowest last: a machine that draws slowly would reach the end of the audio.
    for speed in ("2", "1", "0.25"):
        page.select_option("#speed", speed)
        assert page.evaluate("player.clock.playbackRate") == float(speed)
        assert state(page)["drift"] <= LARGEST_DRIFT
    page.evaluate("player.seek(1)")
    after = state(page)
    assert after["time"] >= 1
    assert after["drift"] <= LARGEST_DRIFT
    page.click("#play")
    wait_until(page, "player.clock.paused")
    stopped = state(page)
    assert stopped["shown"] == pytest.approx(stopped["time"], abs=LARGEST_DRIFT)
    assert state(page)["time"] == stopped["time"]


def test_the_figure_stops_at_the_end_and_starts_again(page: Page) -> None:
    page.evaluate("player.seek(5.8)")
    page.click("#play")
    wait_until(page, "player.clock.ended")
    assert state(page)["shown"] == pytest.approx(5.97, abs=0.05)
    # Slowly: the eleven pictures that are looked at take a busy machine seconds of the clip's six.
    page.select_option("#speed", "0.25")
    page.click("#play")
    wait_until(page, "!player.clock.paused && player.time < 3")
    assert state(page)["shown"] < 5


def test_a_click_on_the_waveform_jumps(page: Page) -> None:
    box = page.locator("#waveform").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    assert state(page)["shown"] == pytest.approx(3, abs=0.1)


def pixels(page: Page) -> bytes:
    state(page)
    return page.locator("#figure").screenshot()


def test_parts_skeleton_truth_and_view_change_the_picture(page: Page) -> None:
    page.evaluate("player.seek(2)")
    pictures = [pixels(page)]
    for selector in ("#parts [value=upper]", "#parts [value=path]", "#skeleton", "#truth"):
        page.click(selector)
        pictures.append(pixels(page))
    box = page.locator("#figure").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 60)
    page.mouse.up()
    pictures.append(pixels(page))
    assert len(set(pictures)) == len(pictures)


def test_a_clip_without_audio_plays_too(page: Page) -> None:
    page.select_option("#clip", "second")
    page.wait_for_selector("body[data-ready='1']")
    assert "no audio" in page.inner_text("#facts")
    page.click("#play")
    wait_until(page, "player.time > 0.3")
    assert state(page)["drift"] <= LARGEST_DRIFT


def test_the_page_loads_nothing_from_elsewhere(chromium: Browser, address: str) -> None:
    page = chromium.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("body[data-ready='0']", timeout=120_000)
    page.close()
    assert {url for url in asked if not url.startswith((address, "blob:", "data:"))} == set()


def test_without_webgl_the_page_says_so_and_plays_the_audio(
    playwright: Playwright, address: str
) -> None:
    with launch(playwright, "--disable-3d-apis") as chromium:
        page = open_page(chromium, address)
        assert "This browser has no WebGL" in page.inner_text("#message")
        page.click("#play")
        wait_until(page, "player.time > 0.2")
