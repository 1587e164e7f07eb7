"""A few drawn pictures with sentences and boxes, to be written in any format.

The module `dummy_data` in the folder of a data set writes them in its true format. Tests are made
from them, and whoever wants to see what a format looks like:

    python -m visem_tf.datasets.dummy_data coco_json folder/
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from visem_tf.datasets import available, nearest
from visem_tf.datasets.scenes.scenes_dataset_builder import Builder, make_example
from visem_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class DummyPhrase:
    """A part of a sentence, with its box.

    Attributes:
        sentence: number of the sentence.
        first: its first word, from 0.
        last: its last word, inclusive.
        text: the words.
        box: (x1, y1, x2, y2) in pixels.
        object: number of the object.
    """

    sentence: int
    first: int
    last: int
    text: str
    box: tuple[int, int, int, int]
    object: int


@dataclasses.dataclass(frozen=True)
class DummyPicture:
    """A picture, with what is known of it.

    Attributes:
        number: an id, as COCO has them.
        split: "train", "val" or "test".
        jpeg: the encoded picture.
        size: width and height.
        sentences: what is said of it.
        phrases: parts of the sentences.
    """

    number: int
    split: str
    jpeg: bytes
    size: tuple[int, int]
    sentences: list[str]
    phrases: list[DummyPhrase]

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.number}.jpg"


def draw_pictures(train: int = 8, val: int = 4, test: int = 4) -> list[DummyPicture]:
    """Draws the pictures of the data set `scenes`.

    Args:
        train: number of training pictures.
        val: number of validation pictures.
        test: number of test pictures.
    """
    config = next(each for each in Builder.BUILDER_CONFIGS if each.name == "smoke")
    pictures: list[DummyPicture] = []
    for split, count in (("train", train), ("val", val), ("test", test)):
        for index in range(count):
            example = make_example(config, split, index)
            with Image.open(io.BytesIO(example["image"])) as opened:
                width, height = opened.size
            phrases = [
                DummyPhrase(
                    int(row["sentence"]),
                    int(row["first"]),
                    int(row["last"]),
                    row["text"],
                    (
                        round(row["bbox"].xmin * width),
                        round(row["bbox"].ymin * height),
                        round(row["bbox"].xmax * width),
                        round(row["bbox"].ymax * height),
                    ),
                    int(row["object"]),
                )
                for row in example["phrases"]
            ]
            number = 1000 + len(pictures)
            pictures.append(
                DummyPicture(
                    number, split, example["image"], (width, height), example["sentences"], phrases
                )
            )
    return pictures


def write(name: str, folder: Path, pictures: Sequence[DummyPicture] | None = None) -> None:
    """Writes pictures in the true format of a data set.

    Args:
        name: the data set; one that is read from a folder.
        folder: where to write; made if it is missing.
        pictures: by default `draw_pictures()`.

    Raises:
        UserError: there is no such data set.
    """
    choices = sorted({each for each in available() if _has_dummy_data(each)})
    if name not in choices:
        raise UserError(f"no dummy data for {name!r}; {nearest(name, choices)}")
    module = importlib.import_module(f"visem_tf.datasets.{name}.dummy_data")
    folder.mkdir(parents=True, exist_ok=True)
    module.write(folder, draw_pictures() if pictures is None else pictures)


def write_pictures(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the files of the pictures into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (folder / picture.name).write_bytes(picture.jpeg)


def _has_dummy_data(name: str) -> bool:
    return (Path(__file__).parent / name / "dummy_data.py").is_file()


def main() -> None:
    """Writes the dummy data that the command line asks for."""
    if len(sys.argv) != 3:
        raise UserError("give the name of a data set and a folder to write to")
    write(sys.argv[1], Path(sys.argv[2]))


if __name__ == "__main__":
    from visem_tf.cli import run_command

    run_command(main)
