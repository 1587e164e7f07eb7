"""The demo's model, and its page as a visitor has it: in a headless Chromium."""

import asyncio
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from untrained import WORDS, make_run

from visem_tf.demo import __main__ as demo
from visem_tf.errors import UserError
from visem_tf.images.sources import ImageSource
from visem_tf.loaded_model import LoadedModel
from visem_tf.report.results import Grounding, ImageDescription, RegionDescription

nicegui = pytest.importorskip("nicegui", reason="the extra `demo` is not installed")

pytestmark = pytest.mark.usefixtures("small_cnn")

EVIL = '<img src=x onerror=alert(1)> & "quotes" <b>'


def encoded(seed: int = 0, size: tuple[int, int] = (60, 90), form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrained")
    return make_run(folder, "align", "generate/full_frame", "generate/regions")


@pytest.fixture(scope="module")
def model(untrained):
    from visem_tf.demo.model import DemoModel

    return DemoModel(LoadedModel(untrained))


@pytest.fixture(scope="module")
def words() -> list[str]:
    return list(WORDS[4:])


@pytest.mark.slow
def test_the_whole_image_as_a_box_is_described_by_the_region_generator(model):
    picture = model.open(encoded())
    region = model.describe_box(picture, (0.0, 0.0, 1.0, 1.0))
    assert region.box == (0.0, 0.0, 1.0, 1.0)
    assert 0 < region.probability <= 1
    assert model.describe_box(picture, (-1.0, 0.5, 0.5, 9.0)).box == (0.0, 0.5, 0.5, 1.0)
    with pytest.raises(UserError, match="no area"):
        model.describe_box(picture, (0.5, 1.5, 0.9, 2.0))


@pytest.mark.slow
def test_pictures_of_any_size_open_and_others_are_refused(model):
    assert model.open(encoded(size=(1, 1))).size == (1, 1)
    assert model.open(encoded(size=(1500, 3000), form="JPEG")).size == (1024, 512)
    with pytest.raises(UserError, match=r"notes\.txt"):
        model.open(b"no picture", "notes.txt")
    with pytest.raises(UserError, match="empty"):
        model.open(b"")


@pytest.mark.slow
def test_every_word_has_a_region_of_the_image(model, words: list[str]):
    image = model.open(encoded())
    found, remarks = model.ground(image, f"{words[0]} {words[1]} {EVIL}")
    assert [word.text for word in found.words][:3] == [words[0], words[1], "img"]
    assert any("img" in remark for remark in remarks)
    for word in found.to_dict()["words"]:
        box = image.description.boxes[word["region"]]
        assert word["box"] == pytest.approx(box.tolist(), abs=1e-4)
    found, remarks = model.ground(image, f"{words[0]} " * 5000)
    assert len(found.words) == 5 and remarks == ["only the first 5 words are read"]
    with pytest.raises(UserError, match="no word"):
        model.ground(image, " ")


@pytest.mark.slow
def test_visitors_at_once_get_what_each_gets_alone(model):
    data = [encoded(seed) for seed in range(4)]
    alone = [model.open(each).description.boxes.tolist() for each in data]
    together: dict[int, list] = {}
    threads = [
        threading.Thread(
            target=lambda n=n: together.update({n: model.open(data[n]).description.boxes.tolist()})
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[n] for n in range(4)] == alone


@pytest.mark.slow
def test_words_that_attend_to_regions_show_them_and_boxes_are_described_all_the_same(
    tmp_path, model
):
    from visem_tf.demo.marks import attention_marks
    from visem_tf.demo.model import DemoModel

    attention = {"model": "attention", "regions": False}
    run = make_run(tmp_path, "align", "generate/full_frame", generate=attention)
    attending = DemoModel(LoadedModel(run))
    assert model.has_region_generator and not attending.has_region_generator
    assert model.open(encoded()).description.found.attention is None
    image = attending.open(encoded())
    assert image.description.found.attention is not None
    words = image.description.caption.split()
    for word, weights in zip(words, image.description.found.attention, strict=True):
        marks = attention_marks(word, weights, image.description.boxes)
        assert len(marks) == np.sum(weights[1:] > 1 / len(weights))
    assert 0 < attending.describe_box(image, (0.1, 0.1, 0.9, 0.9)).probability <= 1


def test_marks_of_attention_grow_with_it():
    from visem_tf.demo.marks import attention_marks

    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.5, 0, 1, 1], [0, 0, 0.1, 0.1]])
    marks = attention_marks("dog", np.array([0.1, 0.3, 0.55, 0.05]), boxes)
    assert [mark.box for mark in marks] == [tuple(boxes[1]), tuple(boxes[2])]
    assert [mark.label for mark in marks] == ["", "dog 55 %"]
    assert 0.15 < marks[0].opacity < marks[1].opacity == 1.0


class StubModel:
    """Answers at once, with texts that contain markup."""

    can_ground = True
    has_region_generator = False

    def open(self, data: bytes, name: str):
        from visem_tf.demo.model import OpenImage
        from visem_tf.runs.description import Description

        if data == b"no image":
            raise UserError(f"{name} is no image")
        boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], np.float32)
        ones = np.ones(2, np.float32)
        description = Description(
            "two words", -1.0, boxes, ["", EVIL], ones, ones, np.array([[0.3, 0.7], [0.5, 0.5]])
        )
        described = ImageDescription(ImageSource(name, data), description)
        return OpenImage(encoded(), (90, 60), None, described, [described.regions[1]])

    def describe_box(self, image, box):
        return RegionDescription(box, "my box", 3 * np.log(0.5), 1.0)

    def ground(self, image, sentence: str):
        word = {"word": "dog", "known": False, "region": 1, "box": [0, 0, 0.5, 0.5], "score": 2.0}
        segment = {"text": "dog", "first": 0, "last": 0, "box": [0, 0, 0.5, 0.5], "score": 2.0}
        found = {"sentence": sentence, "score": 2.0, "words": [word], "segments": [segment]}
        return Grounding(image.description.source, found), [f"read: {sentence}"]


def test_the_page_without_a_browser():
    """Opens, describes, selects and grounds through NiceGUI's simulated user."""
    from nicegui import ui
    from nicegui.testing.user_simulation import user_simulation

    from visem_tf.demo.page import Visit

    async def visit() -> None:
        async with user_simulation(root=lambda: Visit(StubModel()).build()) as user:
            await user.open("/")
            await upload(user, "notes.png", b"no image")
            await user.should_see("Cannot read notes.png is no image")
            await upload(user, "mine.png", encoded())
            await user.should_see("mine.png: two words")
            await user.should_see(f"1  {EVIL}")
            user.find("two", kind=ui.button).trigger("mouseenter")
            await user.should_see("“two” attended to: 70 % top left")
            view = next(iter(user.find(kind=ui.interactive_image).elements))
            assert "two 70 %" in view.content
            user.find("two", kind=ui.button).trigger("mouseleave")
            assert "two 70 %" not in view.content
            user.find("Describe this box").click()
            await user.should_see("New box: my box")
            await user.should_see("mean probability of a word 50 %")
            assert "2 my box" in view.content and 'x="22.5"' in view.content
            user.find("A sentence").type("A dog")
            user.find("Find the regions").click()
            await user.should_see("read: A dog")
            await user.should_see("dog (2.00, unknown)")

    async def upload(user, name: str, data: bytes) -> None:
        from nicegui.elements.upload_files import SmallFileUpload

        control = next(iter(user.find(kind=ui.upload).elements))
        await control.handle_uploads([SmallFileUpload(name, "image/png", data)])

    asyncio.run(visit())


def test_labels_over_the_picture_cannot_become_markup():
    from visem_tf.demo.marks import Mark, draw_marks

    svg = draw_marks([Mark((0.1, 0.2, 0.5, 0.6), "#123456", EVIL, filled=True)], (200, 100))
    assert "<img" not in svg and "&lt;img" in svg
    assert 'x="40.0" y="10.0" width="80.0" height="40.0"' in svg


def test_mistakes_are_named_before_models_are_loaded(untrained):
    command = ["--run-dir", str(untrained.run.path)]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be used .*; give another --port"):
            demo.main([*command, "--port", str(port)])
    with pytest.raises(UserError, match="port 70000 cannot be used"):
        demo.main([*command, "--port", "70000"])


@pytest.fixture(scope="module")
def address(untrained) -> Iterator[str]:
    """A demo that runs in a process of its own."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "visem_tf.demo"),
            *("--run-dir", str(untrained.run.path), "--port", "0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    printed = ""
    for line in process.stdout or ():
        printed += line
        if match := re.search(r"http://127\.0\.0\.1:\d+/", line):
            yield match[0]
            break
    else:
        pytest.fail(printed)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0, "Ctrl-C is the way to end it"


class Visitor:
    """A browser window on the demo, which remembers what went wrong in it."""

    def __init__(self, browser, address: str) -> None:
        self.page = browser.new_context(viewport={"width": 1100, "height": 900}).new_page()
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(dialog.message))
        self.page.on("request", self._note)
        self.address = address
        self.page.goto(address)

    def _note(self, request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def drop(self, name: str, data: bytes) -> None:
        self.page.set_input_files(
            "input[type=file]", {"name": name, "mimeType": "image/png", "buffer": data}
        )

    def wait_for_status(self, text: str) -> str:
        status = self.page.locator("[role=status]", has_text=text)
        status.wait_for(timeout=60_000)
        return status.inner_text()


@pytest.mark.slow
def test_a_visitor_drops_a_picture_draws_a_box_and_types_a_sentence(
    browser, address: str, words: list[str]
):
    visitor = Visitor(browser, address)
    page = visitor.page
    visitor.drop("<img src=x onerror=alert(1)>.png", encoded())
    assert visitor.wait_for_status(".png: ").startswith("<img src=x onerror=alert(1)>.png: ")
    image = page.locator("img").first.bounding_box()
    x, y, width, height = (image[name] for name in ("x", "y", "width", "height"))
    regions = page.get_by_role("button").filter(has_text=re.compile(r"^\d+ "))
    before = regions.count()
    page.mouse.move(x + 0.2 * width, y + 0.3 * height)
    page.mouse.down()
    page.mouse.move(x + 0.8 * width, y + 0.9 * height, steps=3)
    page.mouse.up()
    visitor.wait_for_status("New box: ")
    assert regions.count() == before + 1
    assert regions.last.get_attribute("aria-pressed") == "true"
    rectangle = page.locator("svg g rect").last
    assert float(rectangle.get_attribute("x")) == pytest.approx(0.2 * 90, abs=2)
    assert float(rectangle.get_attribute("width")) == pytest.approx(0.6 * 90, abs=2)
    # A click selects the smallest region under it.
    page.mouse.click(x + 0.5 * width, y + 0.6 * height)
    visitor.wait_for_status("Region ")
    page.get_by_label("A sentence").fill(f"{words[0]} {words[1]} {EVIL}")
    page.keyboard.press("Enter")
    visitor.wait_for_status("not among the training words")
    words_shown = page.get_by_test_id("grounding").get_by_role("button")
    assert words_shown.first.inner_text().startswith(f"{words[0]} (")
    words_shown.first.hover()
    page.wait_for_function(
        "word => [...document.querySelectorAll('svg text')].map(e => e.textContent) == word",
        arg=words[0],
        timeout=20_000,
    )
    assert not visitor.errors
    assert not visitor.elsewhere


@pytest.mark.slow
def test_what_is_no_picture_is_named_and_the_next_one_works(browser, address: str):
    visitor = Visitor(browser, address)
    visitor.drop("notes.png", b"no picture")
    assert "notes.png" in visitor.wait_for_status("Cannot read")
    visitor.drop("one.png", encoded(1, (1, 1)))
    visitor.wait_for_status("one.png: ")
    assert not visitor.errors


@pytest.mark.slow
def test_the_keyboard_alone_describes_a_box(browser, address: str):
    visitor = Visitor(browser, address)
    visitor.drop("mine.png", encoded())
    visitor.wait_for_status("mine.png: ")
    page = visitor.page
    page.get_by_role("button", name="A box by numbers").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Describe this box").focus()
    page.keyboard.press("Enter")
    visitor.wait_for_status("New box: ")


@pytest.mark.slow
def test_two_visitors_do_not_see_each_other(browser, address: str):
    first, second = Visitor(browser, address), Visitor(browser, address)
    first.drop("first.png", encoded(1))
    second.drop("second.png", encoded(2, (90, 60)))
    first.wait_for_status("first.png: ")
    second.wait_for_status("second.png: ")
    assert "second" not in first.page.locator("body").inner_text()
    sizes = [v.page.locator("img").first.evaluate("e => e.naturalWidth") for v in (first, second)]
    assert sizes == [90, 60]


@pytest.mark.slow
def test_other_names_for_this_machine_are_refused(address: str):
    port = int(re.findall(r":(\d+)/", address)[0])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert b"400" in connection.recv(200).split(b"\r\n")[0]
