"""Descriptions of images for people and programs: a table, JSON, and images with drawn boxes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from visem_tf.alignment.segments import attended_regions, box_as_json
from visem_tf.images.find import unused_name
from visem_tf.report.drawing import as_jpeg, draw_attention, draw_regions, place_in_words
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import AnyPath
from visem_tf.runtime.terminal import print_line, print_table

if TYPE_CHECKING:
    from visem_tf.runs.trained_run import Description

_FUNCTION_WORDS = {
    *("a", "an", "the", "its", "his", "her", "their", "and", "or", "is", "are", "of", "in", "on"),
    *("at", "by", "to", "into", "onto", "with", "through", "from"),
}


def best_regions(texts: Sequence[str], quality: np.ndarray) -> list[int]:
    """Returns the regions whose texts are worth showing, the best first.

    The whole frame is left out, and so are texts of function words alone and texts that equal a
    better one.

    Args:
        texts: R texts; region 0 is the whole frame.
        quality: Float array [R], how good each text is; minus infinity for padded regions.

    Example:
        >>> best_regions(["a dog", "a ball", "on the", "a ball"], np.array([9.0, 1.0, 5.0, 2.0]))
        [3]
    """
    by_text: dict[str, int] = {}
    for region in np.argsort(-quality, kind="stable").tolist():
        informative = set(texts[region].split()) - _FUNCTION_WORDS
        if region > 0 and informative and np.isfinite(quality[region]):
            by_text.setdefault(texts[region], region)
    return list(by_text.values())


def chosen_regions(description: Description, count: int = 6) -> list[int]:
    """Returns the regions of an image to show, the best first.

    Texts are better the better they fit their region; without an alignment model, the higher the
    probabilities of their words are.

    Args:
        description: Description of an image.
        count: Largest number of regions.
    """
    quality = description.region_fits
    if quality is None:
        quality = word_probabilities(description)
    return best_regions(description.region_captions, quality)[:count]


def word_probabilities(description: Description) -> np.ndarray:
    """Computes the geometric mean of the word probabilities of every region's text.

    Args:
        description: Description of an image with R regions.

    Returns:
        Float array [R], 0 to 1.
    """
    lengths = np.array([len(text.split()) + 1 for text in description.region_captions])
    return np.exp(description.region_log_probs / lengths)


def as_json(path: AnyPath, description: Description) -> dict[str, Any]:
    """Converts a description to JSON's types; boxes are `rel_yxyx`.

    If the generator attends to regions, "attention" tells to which, see
    `visem_tf.alignment.segments.attended_regions`.
    """
    fits = description.region_fits
    regions = [
        {
            "box": box_as_json(box),
            "caption": caption,
            "log_prob": round(float(description.region_log_probs[n]), 4),
            "region_score": round(float(description.region_scores[n]), 4),
            "fit": None if fits is None else round(float(fits[n]), 4),
        }
        for n, (box, caption) in enumerate(
            zip(description.boxes, description.region_captions, strict=True)
        )
    ]
    described = {
        "image": str(path),
        "caption": description.caption,
        "log_prob": round(description.log_prob, 4),
        "regions": regions,
    }
    if description.attention is not None:
        described["attention"] = attended_regions(
            description.caption, description.attention, description.boxes
        )
    return described


def write_json(path: AnyPath, content: Any) -> None:
    """Writes JSON in one piece; bytes of file names that are not text are escaped."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


class Writer:
    """Prints and draws descriptions one after the other, and collects them for JSON.

    Args:
        folder: Folder for drawn images; None draws none.
        top: Number of regions to show; None shows all.
    """

    def __init__(self, folder: AnyPath | None, top: int | None) -> None:
        self.folder = folder
        self.top = top
        self.results: list[dict[str, Any]] = []
        self._taken: set[str] = set()

    def take(
        self,
        path: AnyPath,
        encoded: bytes,
        description: Description,
        grounding: dict[str, Any] | None,
    ) -> None:
        """Prints, draws and collects the description of an image.

        Args:
            path: Path of the image.
            encoded: Content of its file.
            description: Description of the image.
            grounding: JSON object of the sentence of `--sentence`, grounded in the image; None
                without a sentence.
        """
        shown = list(range(1, len(description.boxes)))
        if self.top is not None:
            shown = chosen_regions(description, self.top)
        result = as_json(path, description)
        if self.results:
            print()
        print_line(f"{path}: {description.caption or '(nothing)'}", style="bold")
        _print_regions(description, shown)
        if result.get("attention"):
            _print_segments(result["attention"]["segments"], ("weight>", "attended to"), "%")
        if grounding is not None:
            print_line(f"“{grounding['sentence']}”, score {grounding['score']:.2f}", indent=2)
            _print_segments(grounding["segments"], ("score>", "region"))
        self.results.append(result if grounding is None else {**result, "looks": grounding})
        if self.folder is None:
            return
        image = Image.open(io.BytesIO(encoded))
        texts = [description.region_captions[region] for region in shown]
        drawn = draw_regions(image, description.boxes[shown], texts, description.caption)
        self._save(path, "described", drawn)
        if description.attention is not None and len(description.attention):
            words = description.caption.split()
            drawn = draw_attention(image, words, description.attention, description.boxes)
            self._save(path, "attention", drawn)
        if grounding is not None:
            drawn = draw_segments(encoded, grounding["segments"], grounding["sentence"])
            self._save(path, "sentence", drawn)

    def _save(self, path: AnyPath, kind: str, image: Image.Image) -> None:
        assert self.folder is not None
        name = unused_name(f"{path.stem}-{kind}", ".jpg", self._taken)
        write_atomically(self.folder / name, as_jpeg(image))


def draw_segments(
    encoded: bytes, segments: Sequence[Mapping[str, Any]], sentence: str
) -> Image.Image:
    """Draws the segments of a sentence on their regions, with the sentence below the image.

    Args:
        encoded: Content of the image file.
        segments: Segments of `visem_tf.runs.phrase_grounding.ground_sentences`.
        sentence: The sentence.
    """
    boxes = np.array([segment["box"] for segment in segments]).reshape(-1, 4)
    texts = [segment["text"] for segment in segments]
    return draw_regions(Image.open(io.BytesIO(encoded)), boxes, texts, sentence)


def _print_regions(description: Description, shown: Sequence[int]) -> None:
    probabilities = word_probabilities(description)
    rows = [
        [
            str(number),
            f"{100 * probabilities[region]:.0f} %",
            description.region_captions[region] or "(nothing)",
            place_in_words(description.boxes[region]),
            " ".join(f"{edge:.2f}" for edge in description.boxes[region]),
        ]
        for number, region in enumerate(shown, start=1)
    ]
    if rows:
        print_table(["#>", "sure>", "region", "where", "top left bottom right"], rows, indent=2)


def _print_segments(
    segments: Sequence[Mapping[str, Any]], headings: Sequence[str], unit: str = ""
) -> None:
    rows = []
    for segment in segments:
        score = f"{100 * segment['score']:.0f} %" if unit == "%" else f"{segment['score']:.2f}"
        rows.append([segment["text"], score, place_in_words(segment["box"])])
    print_table(["words", *headings], rows, indent=2)
