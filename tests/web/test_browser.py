"""The page in Chromium: a photograph goes in, a slider moves, a picture comes out."""

import os
import re
import time

import PIL.Image
import pytest

from tests.conftest import scene

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(browser, served):
    """A function that opens the page with options of the browser; it fails if anything is asked of another machine."""
    asked, contexts = [], []

    def open_page(**options):
        context = browser.new_context(accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(served.url)
        page.wait_for_selector("#content input[type=file]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((served.url, "data:", "blob:"))] == []


@pytest.fixture
def photo(tmp_path):
    PIL.Image.fromarray(scene(160, 100, 1)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def line(page, pattern):
    """Wait until the line of the page matches."""
    page.locator("#line [role=status]", has_text=re.compile(pattern)).wait_for()


def choose(page, photo):
    page.locator("#content input[type=file]").set_input_files(photo)
    line(page, "No style")
    page.locator("#gallery button").first.click()


def command(page):
    return page.locator("#command textarea").input_value()


def test_upload_slide_and_download(opened, photo, tmp_path):
    page = opened(viewport={"width": 1280, "height": 900})
    choose(page, photo)
    line(page, r"^160 × 100 in")
    page.get_by_text("The same in a terminal").click()
    assert " @charcoal " in command(page)
    slider = page.locator("input[type=range]").first
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in (0.55, 0.6, 0.7, 0.8):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        time.sleep(0.05)
    page.mouse.up()
    page.wait_for_function(
        "document.querySelector('#command textarea').value.includes("
        "'--amount ' + document.querySelector('input[type=range]').value)"
    )
    assert float(slider.input_value()) >= 0.75
    line(page, r"^160 × 100 in")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "photo--charcoal.png"
    assert PIL.Image.open(download.value.path()).size == (160, 100)
    # Back to the first picture of the session.
    page.locator("#history button").last.click()
    page.get_by_role("button", name="Use these settings again").click()
    page.wait_for_function("document.querySelector('input[type=range]').value == 0.5")
    if folder := os.environ.get("QUANTART_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/slide.png")


def test_keyboard_alone(opened, photo):
    from playwright.sync_api import TimeoutError

    page = opened(viewport={"width": 1280, "height": 900})

    def tab_to(selector):
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    def enter(selector, expect):
        """Go there and press Enter, again where the page was being drawn anew just then."""
        for _ in range(8):
            tab_to(selector)
            try:
                with expect(timeout=15_000) as found:
                    page.keyboard.press("Enter")
                return found.value
            except TimeoutError:
                continue
        raise AssertionError(f"Enter does nothing at {selector}")

    enter("#content button:has(input[type=file])", page.expect_file_chooser).set_files(photo)
    line(page, "No style")
    tab_to("#gallery button")
    page.keyboard.press("Enter")
    line(page, r"^160 × 100 in")
    tab_to("input[type=range]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelectorAll('#history button img').length == 2")
    assert page.locator("input[type=range]").first.input_value() == "0.55"
    download = enter("#download", page.expect_download)
    assert PIL.Image.open(download.path()).size == (160, 100)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone(opened, photo, scheme):
    page = opened(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True)
    choose(page, photo)
    line(page, r"^160 × 100 in")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    slider = page.locator("input[type=range]").first
    slider.scroll_into_view_if_needed()
    page.mouse.wheel(0, 150)
    time.sleep(0.3)
    picture, control = page.locator("#picture").bounding_box(), slider.bounding_box()
    assert picture["y"] >= 0  # in sight above the slider
    assert picture["y"] + picture["height"] <= control["y"]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shade = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert shade < 60 if scheme == "dark" else shade > 200
    if folder := os.environ.get("QUANTART_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/phone-{scheme}.png")


def draw(page, box):
    """A stroke across the middle."""
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.45, middle)
    page.mouse.down()
    for share in (0.48, 0.5, 0.55):
        page.mouse.move(box["x"] + box["width"] * share, middle)
        time.sleep(0.05)
    page.mouse.up()
    time.sleep(0.3)


def test_regions_are_drawn(opened, photo, served):
    page = opened(viewport={"width": 1280, "height": 1400})
    choose(page, photo)
    line(page, r"^160 × 100 in")
    page.get_by_text("Regions", exact=True).first.click()
    canvas = page.locator("#regions canvas").last
    canvas.wait_for()
    for _ in range(6):  # until the canvas is ready
        time.sleep(1)
        draw(page, canvas.bounding_box())
        page.get_by_role("button", name="Use these regions").click()
        time.sleep(2)
        if any(session.masks for session in served.events.sessions.values()):
            break
    page.wait_for_function("document.querySelectorAll('#history button img').length == 2")
    page.get_by_text("The same in a terminal").click()
    assert "--mask mask-1.png" in command(page)
    (masks,) = {session.masks for session in served.events.sessions.values() if session.masks}
    mask = PIL.Image.open(masks[0].path)
    assert mask.getextrema() == (0, 255)
    assert abs(mask.width / mask.height - 1.6) < 0.05


def test_batch(opened, photo, tmp_path):
    PIL.Image.fromarray(scene(80, 60, 3)).save(tmp_path / "second.png")
    page = opened(viewport={"width": 1280, "height": 900})
    choose(page, photo)
    line(page, r"^160 × 100 in")
    page.get_by_role("tab", name="Batch").click()
    page.locator("#contents input[type=file]").set_input_files([photo, tmp_path / "second.png"])
    page.locator("#contents", has_text="second").wait_for()
    page.get_by_role("button", name="Paint all").click()
    page.locator("#batch-line", has_text="2 of 2 pictures painted.").wait_for()
    assert page.locator("#painted", has_text="second--charcoal").count() == 1
