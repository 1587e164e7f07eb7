import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visem_tf.alignment.phrases import PhraseGrounding
from visem_tf.metrics.grounding import TruePhrases
from visem_tf.report.curves import training_curves
from visem_tf.report.drawing import as_jpeg
from visem_tf.report.gallery import GalleryImage, align_image
from visem_tf.report.marked_phrases import mark_phrases
from visem_tf.report.page import Page, headline, render
from visem_tf.report.table import Table
from visem_tf.report.tables import metric_tables

EVIL = "<script>alert('&\"')</script>"


class Parsed(HTMLParser):
    """Elements of a page: (tag, attributes), and the texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [a for _, a in self.elements if name in (a.get("class") or "").split()]


def picture(text: str = "a red ball", name: str = "one.jpg", group: str = "best") -> GalleryImage:
    boxes = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.4, 0.8]], np.float32)
    words = text.split()
    regions = np.array([[1] + [0] * (len(words) - 1)])
    numbered, sentences = align_image([words], regions, [3], boxes, [text, text], np.zeros(2))
    jpeg = as_jpeg(Image.new("RGB", (40, 30), "grey"))
    return GalleryImage(name, group, 2, jpeg, (40, 30), numbered, sentences, text, [text])


def page(**changed: object) -> Page:
    history = [{"loss": 2.0, "perplexity": 7.4, "val_perplexity": 9.0}]
    fields = {
        "title": "A run",
        "facts": {"Preset": "smoke"},
        "headline": "",
        "tables": [],
        "curves": [
            training_curves("Full frame", history, ""),
            training_curves("Regions", history, ""),
        ],
        "images": [picture()],
        "num_sentences": 200,
        "num_images": 40,
        "absences": [],
        "configuration": "{}",
    }
    return Page(**{**fields, **changed})


def test_texts_of_the_data_cannot_become_markup():
    html = render(
        page(
            title=EVIL,
            facts={EVIL: EVIL},
            images=[picture(EVIL, EVIL)],
            absences=[EVIL],
            configuration=EVIL,
            tables=[Table(EVIL, absent=EVIL)],
            curves=[training_curves(EVIL, [{"loss": 1.0, EVIL: 2.0}], "")],
        )
    )
    assert EVIL not in html
    parsed = Parsed(html)
    assert [a for tag, a in parsed.elements if tag == "script"] == [{}]
    assert parsed.text.count(EVIL) > 8
    assert all(name[0] != "o" for _, attributes in parsed.elements for name in attributes)


def test_every_snippet_has_a_box_of_its_number_and_colour():
    parsed = Parsed(render(page()))
    snippets, boxes = parsed.of_class("snippet"), parsed.of_class("box")
    assert len(snippets) == 2

    def colours(elements: list[dict[str, str | None]]) -> dict[str | None, str]:
        found = {}
        for element in elements:
            colour = re.search(r"--colour: (#\w+)", element["style"] or "")
            assert colour
            found[element["data-box"]] = colour[1]
        return found

    assert colours(snippets) == colours(boxes)
    assert len(set(colours(boxes).values())) == 2
    box = next(box for box in boxes if box["data-box"] == "1")
    assert "top: 10.00%; left: 20.00%; width: 60.00%; height: 30.00%" in (box["style"] or "")


def test_links_lead_to_something_on_the_page_and_ids_are_unique():
    parsed = Parsed(render(page(images=[picture(), picture(group="worst")])))
    ids = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for tag, a in parsed.elements if tag == "a"]
    assert targets
    assert all((target or "")[1:] in ids for target in targets)


def test_nothing_is_loaded_from_elsewhere():
    html = render(page(headline="Good.", tables=metric_tables(None)))
    assert not re.search(r"https?:", html)
    for tag, attributes in Parsed(html).elements:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:", "#")), (tag, value)
        assert "url(http" not in (attributes.get("style") or "")


def test_the_picture_is_in_the_page_with_a_text_for_those_who_cannot_see_it():
    parsed = Parsed(render(page()))
    image = next(attributes for tag, attributes in parsed.elements if tag == "img")
    assert image["alt"] == "a red ball"
    content = base64.b64decode((image["src"] or "").removeprefix("data:image/jpeg;base64,"))
    assert content == picture().jpeg


def test_absent_numbers_show_their_reason_and_no_zero():
    notes = {"captions.beam.meteor": "there is no Java"}
    table = Table("Scores", "", {"meteor": "METEOR"}, {"notes": notes})
    table.add("Beam", {"meteor": None}, "captions.beam")
    parsed = Parsed(render(page(tables=[table], images=[], curves=[])))
    assert "there is no Java" in parsed.text
    cells = re.sub(r"\s+", " ", parsed.text)
    assert "absent, see note – 1" in cells
    assert "0.0" not in cells


def test_intervals_stand_under_their_numbers():
    intervals = {"ranking.image_search.r1": [19.6, 24.8]}
    table = Table("Scores", "", {"r1": "R@1"}, {"intervals": intervals})
    table.add("Image search", {"r1": 22.24}, "ranking.image_search")
    parsed = Parsed(render(page(tables=[table])))
    assert "22.295 % interval 19.6 to 24.8" in parsed.text  # on a line of its own
    assert "95 % interval" not in Parsed(render(page(tables=[Table("Scores")]))).text


def test_absent_trainings_and_captions_say_why():
    curves = [training_curves("Regions", [], "the configuration leaves it out")]
    without = picture()
    without = GalleryImage(**{**vars(without), "caption": None})
    text = Parsed(render(page(curves=curves, images=[without], absences=["No captions."]))).text
    assert "the configuration leaves it out" in text
    assert "No captions." in text
    assert "Generated for the whole image" not in text


def test_curves_name_the_best_epoch_and_live_with_missing_figures():
    history = [{"loss": 3.0, "recall_sum": 5.0}, {"loss": float("nan"), "recall_sum": 4.0}]
    curves = training_curves("Alignment", history, "")
    assert curves.summary == "2 epochs; the best is epoch 1, with recall sum 5"
    assert len(curves.panels) == 1
    assert "currentColor" in curves.panels[0]
    joint = [{"recall_sum": 5.0, "val_perplexity": 9.0}, {"recall_sum": 4.0, "val_perplexity": 8.0}]
    assert training_curves("Joint", joint, "", "val_perplexity").summary == (
        "2 epochs; the best is epoch 2, with validation perplexity 8"
    )


@pytest.mark.parametrize("metrics", [None, {"images": 4, "ranking": {"image_search": {"r10": 1}}}])
def test_the_headline_needs_metrics(metrics: dict | None):
    assert bool(headline(metrics)) == (metrics is not None)


def test_the_template_is_small():
    template = Path(__file__).parents[2] / "visem_tf/report/templates/report.html.j2"
    assert template.stat().st_size < 20_000


def test_phrases_have_the_boxes_of_people_beside_ours() -> None:
    truth = TruePhrases(
        sentence_index=np.array([0, 0]),
        first=np.array([0, 3]),
        last=np.array([1, 4]),
        around=np.array([[0.1, 0.1, 0.5, 0.9], [0.0, 0.0, 0.2, 0.2]]),
        boxes=np.array([[0.1, 0.1, 0.5, 0.4], [0.1, 0.5, 0.5, 0.9], [0.0, 0.0, 0.2, 0.2]]),
        phrase=np.array([0, 0, 1]),
        types=["animals", ""],
        texts=["two dogs", EVIL],
    )
    found = PhraseGrounding(
        np.array([[0.1, 0.1, 0.5, 0.9], [0.5, 0.5, 1.0, 1.0]]),
        np.array([[0.3, 0.2], [0.75, 0.7]]),
        np.zeros(2),
        np.zeros(2, int),
        np.zeros([2, 3]),
        np.zeros(2, bool),
    )
    marked = mark_phrases(truth, found)
    assert [m.verdict for m in marked] == [
        "overlap 100 %, the point is right",
        "overlap 0 %, the point is wrong",
    ]
    image = GalleryImage(**{**vars(picture()), "phrases": marked})
    html = render(page(images=[image]))
    assert EVIL not in html
    first, second = Parsed(html).of_class("phrase")
    assert first["data-ours"] == "10.0 10.0 50.0 90.0"
    assert first["data-theirs"] == "10.0 10.0 50.0 40.0;10.0 50.0 50.0 90.0;"
    assert second["data-point"] == "75.0 70.0"
    assert "(animals; overlap 100 %, the point is right)" in " ".join(Parsed(html).text.split())
    assert "boxes people drew" in html
    assert "boxes people drew" not in render(page())
