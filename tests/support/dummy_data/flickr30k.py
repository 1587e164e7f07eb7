"""Writes dummy images as Flickr30K, with Flickr30k Entities."""

import json
from collections.abc import Sequence
from pathlib import Path

from dummy_data.images import DummyImage, write_images
from dummy_data.karpathy_json import dataset_json
from visem_tf.datasets import schema
from visem_tf.datasets.flickr30k.flickr30k_dataset_builder import KARPATHY_FILE, PICTURES
from visem_tf.datasets.formats.entities import FOLDERS


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    write_images(folder / PICTURES[0], images)
    text = json.dumps(dataset_json(images, "flickr30k"), ensure_ascii=False)
    (folder / KARPATHY_FILE).write_text(text, encoding="utf-8")
    entities = folder / FOLDERS[0]
    for name in ("Sentences", "Annotations"):
        (entities / name).mkdir(parents=True, exist_ok=True)
    for image in images:
        lines = [marked_sentence(image, number) for number in range(len(image.sentences))]
        path = entities / "Sentences" / f"{image.number}.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path = entities / "Annotations" / f"{image.number}.xml"
        path.write_text(annotation(image), encoding="utf-8")
    for split in schema.SPLITS:
        numbers = [str(image.number) for image in images if image.split == split]
        (entities / f"{split}.txt").write_text("\n".join(numbers) + "\n", encoding="utf-8")


def marked_sentence(image: DummyImage, number: int) -> str:
    """Returns a sentence with its phrases marked as Entities does."""
    words = image.sentences[number].replace(".", " .").split()
    for phrase in image.phrases:
        if phrase.sentence == number:
            words[phrase.first] = f"[/EN#{phrase.object + 1}/other {words[phrase.first]}"
            words[phrase.last] = f"{words[phrase.last]}]"
    return " ".join(words)


def annotation(image: DummyImage) -> str:
    """Returns the XML text of an image's boxes; one chain is a scene without a box."""
    boxes = {phrase.object: phrase.box for phrase in image.phrases}
    objects = "".join(
        f"<object><name>{number + 1}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for number, box in sorted(boxes.items())
    )
    width, height = image.size
    return (
        f"<annotation><filename>{image.name}</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}"
        "<object><name>0</name><scene>1</scene><nobndbox>1</nobndbox></object></annotation>"
    )
