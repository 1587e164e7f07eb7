"""Descriptions as people and programs read them: a table, JSON, and pictures with their boxes."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from visem_tf.alignment.segments import box_as_json
from visem_tf.images.find import unused_name
from visem_tf.runtime.storage import AnyPath

if TYPE_CHECKING:
    from visem_tf.runs.trained_run import Description


def chosen_regions(description: Description, count: int = 6) -> list[int]:
    """The regions to show: proposed ones with the best texts, each text once.

    The better text is the one that fits its region better; without an alignment model, the one
    whose words the generator is surer of. Texts of nothing but "a", "in the" and the like are left
    out.

    Args:
      description: Of a picture.
      count: How many, at most.

    Returns:
      Positions, the best first.
    """
    from visem_tf.report.gallery import is_telling

    worth = description.region_fits
    if worth is None:
        worth = word_probabilities(description)
    by_text: dict[str, int] = {}
    for region in np.argsort(-worth, kind="stable").tolist():
        if region > 0 and is_telling(description.region_captions[region]):
            by_text.setdefault(description.region_captions[region], region)
    return list(by_text.values())[:count]


def word_probabilities(description: Description) -> np.ndarray:
    """How sure the texts of the regions are: the geometric mean of the probability of a word.

    Args:
      description: Of a picture with R regions.

    Returns:
      float [R], 0 to 1.
    """
    lengths = np.array([len(text.split()) + 1 for text in description.region_captions])
    return np.exp(description.region_log_probs / lengths)


def as_json(path: AnyPath, description: Description) -> dict[str, Any]:
    """A description in JSON's types; boxes are `rel_yxyx`.

    Where the generator looks at regions, "attention" says at which, see
    `visem_tf.alignment.attended`.
    """
    fits = description.region_fits
    if fits is None:
        fits = np.full(len(description.boxes), None)
    regions = [
        {
            "box": box_as_json(box),
            "caption": caption,
            "log_prob": round(float(log_prob), 4),
            "region_score": round(float(score), 4),
            "fit": None if fit is None else round(float(fit), 4),
        }
        for box, caption, log_prob, score, fit in zip(
            description.boxes,
            description.region_captions,
            description.region_log_probs,
            description.region_scores,
            fits,
            strict=True,
        )
    ]
    described = {
        "image": str(path),
        "caption": description.caption,
        "log_prob": round(description.log_prob, 4),
        "regions": regions,
    }
    if description.attention is not None:
        from visem_tf.alignment.attended import attended

        looked = attended(description.caption, description.attention, description.boxes)
        described["attention"] = looked
    return described


def write_json(path: AnyPath, content: Any) -> None:
    """Writes JSON, whole or not at all; bytes of file names that are no text stand escaped."""
    from visem_tf.runtime.files import write_atomically

    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


class Writer:
    """Shows descriptions as they come.

    Args:
      folder: For drawn pictures; None draws none.
      top: Regions to show; None shows all.
    """

    def __init__(self, folder: AnyPath | None, top: int | None) -> None:
        self.folder = folder
        self.top = top
        self.results: list[dict[str, Any]] = []
        self._taken: set[str] = set()

    def take(
        self, path: AnyPath, encoded: bytes, description: Description, looks: dict[str, Any] | None
    ) -> None:
        """Prints, draws and remembers the description of a picture."""
        if self.top is None:
            shown = list(range(1, len(description.boxes)))
        else:
            shown = chosen_regions(description, self.top)
        result = as_json(path, description)
        attention = result.get("attention")
        self._print(path, description, shown, looks, attention)
        self.results.append(result if looks is None else {**result, "looks": looks})
        if self.folder:
            texts = [description.region_captions[region] for region in shown]
            name = unused_name(f"{path.stem}-described", ".jpg", self._taken)
            self._draw(name, encoded, description.boxes[shown], texts, description.caption)
            if description.attention is not None and len(description.attention):
                name = unused_name(f"{path.stem}-attention", ".jpg", self._taken)
                self._draw_attention(name, encoded, description)
            if looks is not None:
                segments = looks["segments"]
                boxes = np.array([segment["box"] for segment in segments]).reshape(-1, 4)
                texts = [segment["text"] for segment in segments]
                name = unused_name(f"{path.stem}-sentence", ".jpg", self._taken)
                self._draw(name, encoded, boxes, texts, looks["sentence"])

    def _print(
        self,
        path: AnyPath,
        description: Description,
        shown: list[int],
        looks: dict[str, Any] | None,
        attention: dict[str, Any] | None,
    ) -> None:
        from visem_tf.report.drawing import place_in_words
        from visem_tf.runtime.terminal import print_line, print_table

        if self.results:
            print()
        print_line(f"{path}: {description.caption or '(nothing)'}", style="bold")
        sureness = word_probabilities(description)
        rows = [
            [
                str(number),
                f"{100 * sureness[region]:.0f} %",
                description.region_captions[region] or "(nothing)",
                place_in_words(description.boxes[region]),
                " ".join(f"{edge:.2f}" for edge in description.boxes[region]),
            ]
            for number, region in enumerate(shown, start=1)
        ]
        if rows:
            columns = ["#>", "sure>", "region", "where", "top left bottom right"]
            print_table(columns, rows, indent=2)
        if attention:
            rows = [
                [segment["text"], f"{100 * segment['score']:.0f} %", place_in_words(segment["box"])]
                for segment in attention["segments"]
            ]
            print_table(["words", "weight>", "looked at"], rows, indent=2)
        if looks is not None:
            print_line(f"“{looks['sentence']}”, score {looks['score']:.2f}", indent=2)
            rows = [
                [segment["text"], f"{segment['score']:.2f}", place_in_words(segment["box"])]
                for segment in looks["segments"]
            ]
            print_table(["words", "score>", "look at"], rows, indent=2)

    def _draw(
        self, name: str, encoded: bytes, boxes: np.ndarray, texts: list[str], caption: str
    ) -> None:
        from PIL import Image

        from visem_tf.report.drawing import as_jpeg, draw_regions
        from visem_tf.runtime.files import write_atomically

        assert self.folder
        picture = draw_regions(Image.open(io.BytesIO(encoded)), boxes, texts, caption)
        write_atomically(self.folder / name, as_jpeg(picture))

    def _draw_attention(self, name: str, encoded: bytes, description: Description) -> None:
        from PIL import Image

        from visem_tf.report.drawing import as_jpeg, draw_attention
        from visem_tf.runtime.files import write_atomically

        assert self.folder
        assert description.attention is not None
        words = description.caption.split()
        picture = Image.open(io.BytesIO(encoded))
        drawn = draw_attention(picture, words, description.attention, description.boxes)
        write_atomically(self.folder / name, as_jpeg(drawn))
