"""Images of the dataset `scenes` as dummy data."""

import dataclasses
import functools
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from visem_tf.datasets.scenes.scenes_dataset_builder import Builder, make_example


@dataclasses.dataclass(frozen=True)
class DummyPhrase:
    """A phrase of a sentence with its box.

    Attributes:
        sentence: Index of the sentence.
        first: Index of the first word.
        last: Index of the last word, inclusive.
        text: Words of the phrase.
        box: (x1, y1, x2, y2) in pixels.
        object: Index of the object.
    """

    sentence: int
    first: int
    last: int
    text: str
    box: tuple[int, int, int, int]
    object: int


@dataclasses.dataclass(frozen=True)
class DummyImage:
    """An image with its sentences and phrases.

    Attributes:
        number: Identifier, a number as in COCO.
        split: "train", "val" or "test".
        jpeg: Encoded image.
        size: (width, height) in pixels.
        sentences: Sentences of the image.
        phrases: Phrases of the sentences.
    """

    number: int
    split: str
    jpeg: bytes
    size: tuple[int, int]
    sentences: list[str]
    phrases: list[DummyPhrase]

    @property
    def name(self) -> str:
        """File name of the image."""
        return f"{self.number}.jpg"


def draw_images(train: int, val: int, test: int) -> list[DummyImage]:
    """Draws images of the dataset `scenes`, as many for each split as the arguments say."""
    counts = {"train": train, "val": val, "test": test}
    places = [(split, index) for split, count in counts.items() for index in range(count)]
    return [
        dataclasses.replace(_draw(*place), number=1000 + number)
        for number, place in enumerate(places)
    ]


@functools.cache
def _draw(split: str, index: int) -> DummyImage:
    config = next(each for each in Builder.BUILDER_CONFIGS if each.name == "smoke")
    example = make_example(config, split, index)
    with Image.open(io.BytesIO(example["image"])) as opened:
        size = opened.size
    phrases = [_phrase(row, *size) for row in example["phrases"]]
    return DummyImage(0, split, example["image"], size, example["sentences"], phrases)


def write_images(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the image files into a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        (folder / image.name).write_bytes(image.jpeg)


def _phrase(row: dict, width: int, height: int) -> DummyPhrase:
    box = row["bbox"]
    return DummyPhrase(
        int(row["sentence"]),
        int(row["first"]),
        int(row["last"]),
        row["text"],
        (
            round(box.xmin * width),
            round(box.ymin * height),
            round(box.xmax * width),
            round(box.ymax * height),
        ),
        int(row["object"]),
    )
