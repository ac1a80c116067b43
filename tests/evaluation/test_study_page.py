"""The page of a study in Chromium: votes by keys and by touch, the file of votes, and its scores."""

import io

import PIL.Image
import pytest

from quantart_cli.evaluation.study import make_page, make_trials, read_votes, score_votes
from tests.conftest import scene

pytestmark = pytest.mark.browser
SIZE = (512, 410)


def jpeg(seed):
    file = io.BytesIO()
    PIL.Image.fromarray(scene(*SIZE, seed)).save(file, "jpeg")
    return file.getvalue()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The file, its key, and the numbers of its trials."""
    trials = make_trials([("boats", "ink"), ("garden", "ink")], ("ours", "theirs"), seed=3)
    outputs = {(c, "ink", name): jpeg(n) for n, (c, name) in enumerate((t.content, t.left) for t in trials)}
    html, key = make_page(trials, {"boats": jpeg(8), "garden": jpeg(9)}, {"ink": jpeg(10)}, outputs)
    path = tmp_path_factory.mktemp("study") / "study.html"
    path.write_text(html, "utf-8")
    return path, key


@pytest.fixture
def opened(browser, study):
    """A function that opens the page; it fails if an error is logged or anything else is asked for."""
    wrong, asked = [], []

    def open_page(**options):
        page = browser.new_context(accept_downloads=True, offline=True, **options).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(study[0].as_uri())
        return page

    yield open_page
    assert wrong == []
    assert {url[:5] for url in asked} <= {"file:", "data:"}


def wait_for_trial(page, number):
    """Playwright's own waiting needs eval, which the page forbids."""
    for _ in range(200):
        if page.evaluate("now") == number:
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"trial {number} is not shown")


def saved(page, press):
    with page.expect_download() as found:
        press()
    assert found.value.suggested_filename.endswith(".csv")
    return found.value.path().read_text()


def test_votes_by_keys(opened, study):
    page, key = opened(viewport={"width": 1280, "height": 800}), study[1]
    for number, trial in enumerate(key.trials):
        wait_for_trial(page, number)
        for _ in range(3):
            page.keyboard.press("ArrowLeft" if trial.left == "ours" else "ArrowRight")
    page.wait_for_selector("#end:visible")
    page.keyboard.press("Backspace")  # takes the last answer back, about the content
    page.keyboard.press("ArrowRight" if key.trials[-1].left == "ours" else "ArrowLeft")
    page.wait_for_selector("#end:visible")
    answers = read_votes(saved(page, lambda: page.keyboard.press("s")), key)
    better, style, content = score_votes(answers, key)
    assert [(rate.wins, rate.count) for rate in better.rates[:1] + style.rates[:1]] == [(2, 2), (2, 2)]
    assert (content.consistent, content.inconsistent) == (1, 1)
    page.reload()
    assert page.text_content("#count") == "4 / 4"  # votes are kept


def test_keys_enlarge_pictures(opened):
    page = opened()
    page.keyboard.press("4")
    assert page.locator("#zoom img").get_attribute("src") == page.locator(".picture").nth(3).get_attribute("src")
    page.keyboard.press("ArrowLeft")  # does not answer behind it
    page.keyboard.press("Escape")
    assert page.evaluate("[$('zoom').open, Object.keys(vote()).length]") == [False, 0]


@pytest.mark.parametrize("size", [(390, 844), (844, 390)])
def test_phones(opened, study, size):
    page = opened(viewport={"width": size[0], "height": size[1]}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    boxes = [each.bounding_box() for each in page.locator(".picture").all()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= size[0] and box["width"] > 120 for box in boxes)
    left, right = boxes[2:]
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert max(box["y"] + box["height"] for box in boxes) < size[1]
    for question in ("better", "style", "content"):
        page.tap(f"#{question}-right")
    wait_for_trial(page, 1)
    (answer,) = read_votes(saved(page, lambda: page.tap("#save")), study[1])
    assert answer.winners == {"better": "right", "style": "right", "content": "right"}


def test_dark(opened):
    page = opened(color_scheme="dark")
    colours = page.evaluate("['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])")
    text, ground = ([int(n) for n in colour[4:-1].split(",")] for colour in colours)
    assert min(text) - max(ground) > 150
