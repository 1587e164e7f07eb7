"""The page about a run: one file that a browser shows without a network."""

import base64
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import markupsafe
import numpy as np

from visem_tf.report.curves import Curves
from visem_tf.report.gallery import GROUPS, GalleryPicture
from visem_tf.report.tables import Table

_GROUP_TITLES = {
    "best": "Pictures whose own sentence ranks best",
    "random": "Pictures chosen at random",
    "worst": "Pictures whose own sentence ranks worst",
}


@dataclass(frozen=True)
class WordScores:
    """How well single words fit the pictures of the gallery, for its search by a sentence.

    Attributes:
      words: V words.
      scores: float [V, P], what each adds to the score of each picture.
    """

    words: Sequence[str]
    scores: np.ndarray

    def packed(self) -> dict[str, Any]:
        """The words and, in base64, a signed byte for each score: how much better than the word's
        mean it is, in the 127th part of the largest difference.
        """
        relative = self.scores - self.scores.mean(axis=1, keepdims=True)
        unit = max(float(np.abs(relative).max(initial=0)), 1e-6) / 127
        steps = np.round(relative / unit).astype(np.int8)
        return {
            "words": list(self.words),
            "unit": unit,
            "scores": base64.b64encode(steps.tobytes()).decode("ascii"),
        }


@dataclass(frozen=True)
class Page:
    """Everything that the page shows.

    Attributes:
      title: Heading.
      facts: What was trained on what: names and values.
      headline: The main result in a sentence; empty without one.
      tables: The numbers.
      curves: Of every training.
      pictures: The gallery.
      num_sentences: Among how many a picture's own sentence was ranked.
      num_images: Among how many pictures a sentence's own was ranked.
      absences: What the gallery lacks, and why.
      configuration: As JSON text.
      word_scores: For the search by a sentence; None leaves it out.
    """

    title: str
    facts: Mapping[str, str]
    headline: str
    tables: Sequence[Table]
    curves: Sequence[Curves]
    pictures: Sequence[GalleryPicture]
    num_sentences: int
    num_images: int
    absences: Sequence[str]
    configuration: str
    word_scores: WordScores | None = None


def render(page: Page) -> str:
    """Writes the page as HTML; every text in it is escaped.

    Args:
      page: What it shows.

    Returns:
      HTML with its styles, its script and its pictures inside.
    """
    groups = {
        group: [picture for picture in page.pictures if picture.group == group] for group in GROUPS
    }
    curves = [
        (training, [markupsafe.Markup(panel) for panel in training.panels])
        for training in page.curves
    ]
    template = _environment().get_template("report.html.j2")
    index = page.word_scores.packed() if page.word_scores and page.pictures else None
    return template.render(
        page=page, groups=groups, titles=_GROUP_TITLES, curves=curves, word_scores=index
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("visem_tf.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["percent"] = lambda share: f"{100 * share:.2f}%"
    return environment


def headline(metrics: Mapping[str, Any] | None) -> str:
    """The main result in a sentence.

    Args:
      metrics: What `metrics.json` holds; None if there is none.

    Example:
      >>> search = {"r10": 43.0}
      >>> headline({"images": 40, "ranking": {"image_search": search}})
      'Given a sentence, its picture is among the first 10 of 40 in 43.0 % of cases.'
    """
    if metrics is None:
        return ""
    found = metrics["ranking"]["image_search"]["r10"]
    chance = metrics.get("ranking_chance")
    beside = f" ({chance['image_search']['r10']:.1f} % by chance)" if chance else ""
    return (
        f"Given a sentence, its picture is among the first 10 of {metrics['images']:,} in "
        f"{found:.1f} % of cases{beside}."
    )


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
