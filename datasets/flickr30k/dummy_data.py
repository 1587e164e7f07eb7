"""Writes drawn pictures as Flickr30K, with Flickr30k Entities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from visem_tf.datasets import schema
from visem_tf.datasets.dummy_data import DummyPicture, write_pictures
from visem_tf.datasets.flickr30k.flickr30k_dataset_builder import ENTITIES, KARPATHY_FILE, PICTURES
from visem_tf.datasets.karpathy_json.dummy_data import dataset_json


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the pictures in the format of the data set.

    Args:
        folder: exists.
        pictures: what is written.
    """
    write_pictures(folder / PICTURES[0], pictures)
    text = json.dumps(dataset_json(pictures, "flickr30k"), ensure_ascii=False)
    (folder / KARPATHY_FILE).write_text(text, encoding="utf-8")
    entities = folder / ENTITIES[0]
    for name in ("Sentences", "Annotations"):
        (entities / name).mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        lines = [marked_sentence(picture, number) for number in range(len(picture.sentences))]
        path = entities / "Sentences" / f"{picture.number}.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path = entities / "Annotations" / f"{picture.number}.xml"
        path.write_text(annotation(picture), encoding="utf-8")
    for split in schema.SPLITS:
        numbers = [str(picture.number) for picture in pictures if picture.split == split]
        (entities / f"{split}.txt").write_text("\n".join(numbers) + "\n", encoding="utf-8")


def marked_sentence(picture: DummyPicture, number: int) -> str:
    """Returns a sentence with its phrases marked as Entities does."""
    words = picture.sentences[number].replace(".", " .").split()
    for phrase in picture.phrases:
        if phrase.sentence == number:
            words[phrase.first] = f"[/EN#{phrase.object + 1}/other {words[phrase.first]}"
            words[phrase.last] = f"{words[phrase.last]}]"
    return " ".join(words)


def annotation(picture: DummyPicture) -> str:
    """Returns the XML text of a picture's boxes; one chain is a scene without a box."""
    boxes = {phrase.object: phrase.box for phrase in picture.phrases}
    objects = "".join(
        f"<object><name>{number + 1}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for number, box in sorted(boxes.items())
    )
    width, height = picture.size
    return (
        f"<annotation><filename>{picture.name}</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}"
        "<object><name>0</name><scene>1</scene><nobndbox>1</nobndbox></object></annotation>"
    )
