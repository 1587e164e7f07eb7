"""The report page: one file that a browser shows without a network."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from visem_tf.report.curves import Curves
from visem_tf.report.gallery import GROUPS, GalleryImage
from visem_tf.report.table import Table

_GROUP_TITLES = {
    "best": "Images whose own sentence ranks best",
    "random": "Images chosen at random",
    "worst": "Images whose own sentence ranks worst",
}


@dataclass(frozen=True)
class Page:
    """Content of the page.

    Attributes:
        title: Heading.
        facts: Names and values: what was trained on what.
        headline: The main result in a sentence; empty without one.
        tables: Tables of metrics.
        curves: Curves of every training.
        images: Images of the gallery.
        num_sentences: Number of sentences that were ranked for an image.
        num_images: Number of images that were ranked for a sentence.
        absences: Sentences that say what the gallery lacks, and why.
        configuration: Configuration as JSON text.
    """

    title: str
    facts: Mapping[str, str]
    headline: str
    tables: Sequence[Table]
    curves: Sequence[Curves]
    images: Sequence[GalleryImage]
    num_sentences: int
    num_images: int
    absences: Sequence[str]
    configuration: str

    @property
    def has_phrases(self) -> bool:
        """Whether an image has a phrase whose boxes people drew."""
        return any(image.phrases for image in self.images)


def render(page: Page) -> str:
    """Renders the page as HTML with its styles, script and images inside; all texts are escaped."""
    environment = make_environment()
    environment.filters["data_uri"] = _data_uri
    environment.filters["percent"] = "{:.2%}".format
    groups = {group: [image for image in page.images if image.group == group] for group in GROUPS}
    template = environment.get_template("report.html.j2")
    return template.render(page=page, groups=groups, titles=_GROUP_TITLES)


def make_environment() -> jinja2.Environment:
    """Makes the environment of the templates of this package.

    Values are escaped, and a value that is missing is an error.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader("visem_tf.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def headline(metrics: Mapping[str, Any] | None) -> str:
    """Says the main result in a sentence.

    Args:
        metrics: Content of `metrics.json`; None if there is none.

    Example:
        >>> search = {"r10": 43.0}
        >>> headline({"images": 40, "ranking": {"image_search": search}})
        'Given a sentence, its image is among the first 10 of 40 in 43.0 % of cases.'
    """
    if metrics is None or not metrics["ranking"]:
        return ""
    found = metrics["ranking"]["image_search"]["r10"]
    chance = metrics.get("ranking_chance")
    beside = f" ({chance['image_search']['r10']:.1f} % by chance)" if chance else ""
    return (
        f"Given a sentence, its image is among the first 10 of {metrics['images']:,} in "
        f"{found:.1f} % of cases{beside}."
    )


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
