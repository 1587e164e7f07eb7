"""Prints and draws descriptions of images, one after the other, and collects them for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from visem_tf.images.find import unused_name
from visem_tf.report.drawing import as_jpeg, draw_attention, place_in_words
from visem_tf.report.results import Grounding, ImageDescription, shown_regions
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import AnyPath, as_path
from visem_tf.runtime.terminal import print_line, print_table


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

    def take(self, described: ImageDescription, grounding: Grounding | None = None) -> None:
        """Prints, draws and collects the description of an image.

        Args:
            described: Description of the image.
            grounding: The sentence of `--sentence`, grounded in the image; None without one.
        """
        result = described.to_dict()
        if self.results:
            print()
        print_line(f"{described.image}: {described.caption or '(nothing)'}", style="bold")
        _print_regions(described, shown_regions(described.found, self.top))
        if result.get("attention"):
            _print_segments(result["attention"]["segments"], ("weight>", "attended to"), "%")
        if grounding is not None:
            print_line(f"“{grounding.sentence}”, score {grounding.score:.2f}", indent=2)
            _print_segments(grounding.found["segments"], ("score>", "region"))
            result["looks"] = grounding.to_dict()
        self.results.append(result)
        if self.folder is None:
            return
        self._save(described, "described", described.plot(self.top))
        attention = described.found.attention
        if attention is not None and len(attention):
            words = described.caption.split()
            image = described.source.image()
            drawn = draw_attention(image, words, attention, described.boxes)
            self._save(described, "attention", drawn)
        if grounding is not None:
            self._save(described, "sentence", grounding.plot())

    def _save(self, described: ImageDescription, kind: str, image: Image.Image) -> None:
        assert self.folder is not None
        stem = as_path(described.image).stem
        name = unused_name(f"{stem}-{kind}", ".jpg", self._taken)
        write_atomically(self.folder / name, as_jpeg(image))


def _print_regions(described: ImageDescription, shown: Sequence[int]) -> None:
    regions = described.regions
    rows = [
        [
            str(number),
            f"{100 * region.probability:.0f} %",
            region.caption or "(nothing)",
            place_in_words(region.box),
            " ".join(f"{edge:.2f}" for edge in region.box),
        ]
        for number, region in enumerate((regions[n] for n in shown), start=1)
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
