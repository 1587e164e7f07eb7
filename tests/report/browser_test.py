"""The report as a reader has it: in a headless Chromium, with hostile texts, without a network."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visem_tf.report.curves import training_curves
from visem_tf.report.drawing import as_jpeg
from visem_tf.report.gallery import GalleryImage, align_image, attended_caption
from visem_tf.report.page import Page, render
from visem_tf.report.tables import metric_tables

pytestmark = pytest.mark.slow

EVIL = "</script><img src=x onerror=alert(1)>"
BOXES = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.4, 0.8], [0.5, 0.5, 0.9, 0.9]], np.float32)
SENTENCES = ["a red ball", "a blue cross", f"one {EVIL} dog", "dogs in grass", "a café"]
GROUPS = ["best", "best", "random", "random", "worst"]


def picture(number: int) -> GalleryImage:
    words = SENTENCES[number].split()
    regions = np.array([[1] + [2] * (len(words) - 1)])
    similarities = np.arange(len(words) * 3.0).reshape(1, -1, 3) + 0.25
    boxes, sentences = align_image([words], regions, [3], BOXES, None, None, similarities)
    jpeg = as_jpeg(Image.new("RGB", (40, 30), "grey"))
    caption = attended = None
    if number == 1:  # "ball" attends to the first box most, and to the second less than the mean
        caption = f"a ball {EVIL.split()[0]}"
        weights = np.array([[0.4, 0.3, 0.3], [0.1, 0.6, 0.3], [0.3, 0.2, 0.5]])
        attended = attended_caption(caption, weights, BOXES)
    return GalleryImage(
        f"{number}.jpg",
        GROUPS[number],
        number + 1,
        jpeg,
        (40, 30),
        boxes,
        sentences,
        caption,
        words,
        attended,
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = Page(
        title=f"A run {EVIL}",
        facts={EVIL: EVIL},
        headline="",
        tables=metric_tables(None),
        curves=[training_curves("Alignment", [{"loss": 2.0}, {"loss": 1.0}], "")],
        images=[picture(number) for number in range(5)],
        num_sentences=20,
        num_images=5,
        absences=[],
        configuration=f'{{"{EVIL}": 1}}',
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(page), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, report: Path):
    window = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    window.on("pageerror", lambda error: problems.append(str(error)))
    window.on("dialog", lambda dialog: problems.append(dialog.message))
    window.on(
        "console",
        lambda note: problems.append(note.text) if note.type in ("error", "warning") else None,
    )
    window.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else problems.append(request.url)
        ),
    )
    window.goto(report.as_uri())
    yield window
    window.close()
    assert problems == []


def shown(page) -> list[str]:
    """The names of the images that are to be seen, in their order."""
    names = "[...document.querySelectorAll('article')].filter(a => a.offsetParent)"
    return page.evaluate(f"{names}.map(a => a.querySelector('h4').textContent)")


def test_a_word_shows_its_score_with_every_box_and_marks_its_own(page):
    article = page.locator("article").first
    article.locator(".word", has_text="red").hover()
    # "red" is word 1: scores 3.25, 4.25 and 5.25 with the regions; boxes are regions 1 and 2.
    assert article.locator(".entries .score").all_inner_texts() == ["4.25", "5.25"]
    assert article.locator(".box.on .number").inner_text() == "2"
    assert article.locator(".spoken").inner_text() == "“red” with each box: 1: 4.25, 2: 5.25"
    page.locator("h1").hover()
    assert article.locator(".box.on").count() == 0
    assert article.locator(".entries .score").all_inner_texts() == ["", ""]


def test_the_keyboard_reaches_every_snippet_and_hears_its_scores(page):
    article = page.locator("article").first
    article.locator(".snippet").first.focus()
    assert article.locator(".spoken").inner_text() == "With box 1: a 1.25"
    page.keyboard.press("Tab")
    assert article.locator(".spoken").inner_text() == "With box 2: red 5.25, ball 8.25"
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector(':target').textContent").split()[:2] == [
        "box",
        "2",
    ]


def test_a_generated_word_shades_what_the_generator_attended_to(page):
    article = page.locator("article").nth(1)
    article.locator(".generated", has_text="ball").hover()
    heat = article.locator(".heat")
    assert heat.count() == 1
    assert heat.evaluate("e => [e.style.top, e.style.left, e.style.height]") == [
        "10%",
        "20%",
        "30%",
    ]
    hint = article.locator(".hint")
    assert hint.inner_text().startswith("“ball”: 60 % ")
    page.locator("h1").hover()
    assert heat.count() == 0
    assert hint.inner_text().startswith("Point at a word")
    article.locator(".generated").first.focus()
    assert heat.count() == 0  # the frame is not shaded, and no box is above the mean
    page.keyboard.press("Tab")
    assert heat.count() == 1


def test_images_are_filtered_by_words_and_group(page):
    assert shown(page) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    words = page.get_by_label("with the words")
    words.fill("dog")
    assert shown(page) == ["2.jpg", "3.jpg"]
    assert page.locator(".finder output").inner_text() == "2 of 5 images"
    assert not page.get_by_text("Images whose own sentence ranks best").is_visible()
    words.fill("A, CAFE\u0301")  # a capital, a comma, and an accent that is a sign of its own
    assert shown(page) == ["4.jpg"]
    words.fill("nothing")
    assert shown(page) == []
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Show").select_option("worst")
    assert shown(page) == ["4.jpg"]


def test_a_phone_shows_the_page_without_scrolling_sideways(page):
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    article = page.locator("article").first
    article.locator(".word", has_text="ball").click()
    assert article.locator(".box.on .number").inner_text() == "2"


def test_without_scripts_everything_is_there_but_the_form(browser, report: Path):
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(report.as_uri())
    assert window.locator("article").count() == 5
    assert not window.locator(".finder").is_visible()
    context.close()
