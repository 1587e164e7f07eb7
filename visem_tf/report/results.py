"""Results of a loaded model: descriptions, groundings and search results of images."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from visem_tf.alignment.segments import attended_regions, box_as_json
from visem_tf.images.sources import ImageSource
from visem_tf.report.descriptions import chosen_regions, word_probabilities
from visem_tf.report.drawing import Edges, as_edges, draw_regions
from visem_tf.runs.description import Description

_NOTEBOOK_SIDE = 800
_THUMBNAIL_SIDE = 240


@dataclass(frozen=True, eq=False, repr=False)
class _Drawn:
    """A result that is drawn on its image, also in notebooks.

    Attributes:
        source: The image.
    """

    source: ImageSource

    @property
    def image(self) -> str:
        """Path of the image, or its position among those that were given."""
        return self.source.name

    def plot(self) -> Image.Image:
        """Draws the result on its image."""
        raise NotImplementedError

    def _repr_png_(self) -> bytes:
        return _as_png(self.plot(), _NOTEBOOK_SIDE)


@dataclass(frozen=True)
class RegionDescription:
    """A region with its description.

    Attributes:
        box: (ymin, xmin, ymax, xmax), relative to the image.
        caption: Description of the region; empty without a region generator.
        log_prob: Log-probability of the description.
        score: Score of the proposer; 1 for a given box.
        fit: v_i . s_t, summed over the words of the description; None without an alignment model
            or a region generator.
    """

    box: Edges
    caption: str
    log_prob: float
    score: float
    fit: float | None = None

    @property
    def probability(self) -> float:
        """Geometric mean of the probabilities of the words, 0 to 1."""
        return float(word_probabilities([self.caption], np.array([self.log_prob]))[0])


@dataclass(frozen=True, eq=False, repr=False)
class ImageDescription(_Drawn):
    """Description of an image and of its regions.

    Attributes:
        source: The image.
        found: The description as arrays.
    """

    found: Description

    @property
    def caption(self) -> str:
        """Caption of the whole image."""
        return self.found.caption

    @property
    def log_prob(self) -> float:
        """Log-probability of the caption."""
        return self.found.log_prob

    @property
    def boxes(self) -> np.ndarray:
        """Boxes of the regions, float32 [R, 4], `rel_yxyx`; the first is the whole frame."""
        return self.found.boxes

    @property
    def regions(self) -> tuple[RegionDescription, ...]:
        """The regions; the first is the whole frame, the others are as the proposer ranks them."""
        found = self.found
        parts = (found.region_log_probs, found.region_scores, found.region_fits)
        log_probs, scores, fits = ([] if part is None else part.tolist() for part in parts)
        return tuple(
            RegionDescription(
                as_edges(box), text, log_probs[n], scores[n], fits[n] if fits else None
            )
            for n, (box, text) in enumerate(zip(found.boxes, found.region_captions, strict=True))
        )

    def plot(self, top: int | None = 6) -> Image.Image:
        """Draws the boxes with their texts, and the caption below the image.

        Args:
            top: Number of regions, those whose texts fit best; None draws all.
        """
        found = self.found
        shown = shown_regions(found, top)
        texts = [found.region_captions[region] for region in shown]
        return draw_regions(self.source.image(), found.boxes[shown], texts, self.caption)

    def to_dict(self) -> dict[str, Any]:
        """Returns what `describe --json` writes for the image, in JSON's types.

        If the generator attends to regions, "attention" tells to which, see
        `visem_tf.alignment.segments.attended_regions`.
        """
        described: dict[str, Any] = {
            "image": self.image,
            "caption": self.caption,
            "log_prob": round(self.log_prob, 4),
            "regions": [
                {
                    "box": box_as_json(region.box),
                    "caption": region.caption,
                    "log_prob": round(region.log_prob, 4),
                    "region_score": round(region.score, 4),
                    "fit": None if region.fit is None else round(region.fit, 4),
                }
                for region in self.regions
            ],
        }
        attention = self.found.attention
        if attention is not None:
            described["attention"] = attended_regions(self.caption, attention, self.boxes)
        return described

    def __repr__(self) -> str:
        return f"ImageDescription({self.image!r}, {self.caption!r}, {len(self.boxes)} regions)"


def shown_regions(description: Description, top: int | None) -> list[int]:
    """Returns the regions to show: the best ones, or all but the whole frame if `top` is None."""
    if top is None:
        return list(range(1, len(description.boxes)))
    return chosen_regions(description, top)


@dataclass(frozen=True)
class GroundedText:
    """A word or some words of a sentence, and where they are in the image.

    Attributes:
        text: The words.
        box: (ymin, xmin, ymax, xmax), relative to the image.
        point: (y, x), relative to the image.
        score: How well the words fit the region of the box.
    """

    text: str
    box: Edges
    point: tuple[float, float]
    score: float

    @classmethod
    def of(cls, place: Mapping[str, Any]) -> GroundedText:
        """Returns a word, segment or phrase of `ground_sentences`."""
        top, left, bottom, right = box = as_edges(place["box"])
        y, x = place.get("point", ((top + bottom) / 2, (left + right) / 2))
        return cls(place.get("text", place.get("word", "")), box, (y, x), place["score"])


@dataclass(frozen=True, eq=False, repr=False)
class Grounding(_Drawn):
    """A sentence with the places of its words in an image.

    Attributes:
        source: The image.
        found: JSON object with "sentence", "score", and the entries of
            `visem_tf.runs.phrase_grounding.ground_sentences`.
    """

    found: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """The sentence."""
        return str(self.found["sentence"])

    @property
    def score(self) -> float:
        """Score of the sentence with the image, S_kl of section 3.1.3."""
        return float(self.found["score"])

    @property
    def words(self) -> tuple[GroundedText, ...]:
        """The words, each with its region by the Markov random field."""
        return self._places("words")

    @property
    def segments(self) -> tuple[GroundedText, ...]:
        """Neighbouring words that have one region."""
        return self._places("segments")

    @property
    def phrases(self) -> tuple[GroundedText, ...]:
        """The phrases that were asked for."""
        return self._places("phrases")

    def _places(self, kind: str) -> tuple[GroundedText, ...]:
        return tuple(GroundedText.of(place) for place in self.found.get(kind, ()))

    def plot(self) -> Image.Image:
        """Draws the phrases, or else the segments, and the sentence below the image."""
        drawn = self.phrases or self.segments
        boxes = np.array([place.box for place in drawn]).reshape(-1, 4)
        texts = [place.text for place in drawn]
        return draw_regions(self.source.image(), boxes, texts, self.sentence)

    def to_dict(self) -> dict[str, Any]:
        """Returns what `describe --sentence --json` writes for the sentence."""
        return dict(self.found)

    def __repr__(self) -> str:
        texts = [place.text for place in self.phrases or self.segments]
        return f"Grounding({self.image!r}, {self.sentence!r}, {self.score:.2f}, {texts})"


@dataclass(frozen=True, eq=False, repr=False)
class FoundImage(Grounding):
    """An image that a search found, with the sentence grounded in it.

    Attributes:
        rank: 1 for the best image.
    """

    rank: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Returns what `search --json` writes for the image."""
        rest = {name: value for name, value in self.found.items() if name != "sentence"}
        return {"image": self.image, "rank": self.rank, **rest}

    def __repr__(self) -> str:
        return f"FoundImage({self.rank}, {self.image!r}, {self.score:.2f})"


@dataclass(frozen=True)
class SearchResult:
    """Images ranked by a sentence.

    Attributes:
        sentence: The sentence.
        unknown_words: Words that were not among the training words.
        searched: Number of images that were ranked.
        images: The best images, the best first.
    """

    sentence: str
    unknown_words: tuple[str, ...]
    searched: int
    images: tuple[FoundImage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns what `search --json` writes for the sentence."""
        return {
            "sentence": self.sentence,
            "unknown_words": list(self.unknown_words),
            "searched": self.searched,
            "pictures": [image.to_dict() for image in self.images],
        }

    def _repr_html_(self) -> str:
        """Thumbnails of the images with their scores, for notebooks."""
        cells = []
        for image in self.images:
            data = base64.b64encode(_as_png(image.plot(), _THUMBNAIL_SIDE)).decode()
            title = html.escape(f"{image.rank}. {image.image}: {image.score:.2f}")
            cells.append(
                f'<figure style="display:inline-block;margin:4px"><img alt="" '
                f'src="data:image/png;base64,{data}"><figcaption>{title}</figcaption></figure>'
            )
        return f"<p><b>{html.escape(self.sentence)}</b></p>{''.join(cells)}"


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """Vectors of the regions of an image in the space that regions and words share.

    Attributes:
        embeddings: v, float32 [R, D].
        boxes: float32 [R, 4], `rel_yxyx`; the first is the whole frame.
    """

    embeddings: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, eq=False)
class SentenceEmbedding:
    """Vectors of the words of a sentence in the space that regions and words share.

    Attributes:
        embeddings: s, float32 [T, D].
        words: The T words.
    """

    embeddings: np.ndarray
    words: tuple[str, ...]


def _as_png(image: Image.Image, side: int) -> bytes:
    """A PNG of an image, reduced to a longest side."""
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
