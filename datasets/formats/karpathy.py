"""Karpathy's `dataset_flickr8k.json` and similar files: images, sentences and splits in one file.

{"dataset", "images": [{"imgid", "filename", "filepath", "cocoid", "split", "sentids",
 "sentences": [{"tokens", "raw", "imgid", "sentid"}]}]}
"""

from typing import Any

from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.problems import add_listed
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, exists


def read_karpathy(path: AnyPath, images: AnyPath, notes: list[str]) -> list[Record]:
    """Reads such a file.

    Args:
        path: Path of the file.
        images: Folder that the file names are relative to.
        notes: List that receives what was wrong with the file.

    Returns:
        A record for each image, in the order of the file. The image id is the COCO id if the file
        has one, otherwise the file name.

    Raises:
        UserError: If the file cannot be read or has another form.
    """
    records, bad, without_text = [], [], []
    for number, entry in enumerate(_entries(path, read_json(path, notes))):
        name = entry.get("filename") if isinstance(entry, dict) else None
        sentences = entry.get("sentences") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or not isinstance(sentences, list):
            bad.append(str(number))
            continue
        texts = [text for text in map(_text, sentences) if text is not None]
        if len(texts) < len(sentences):
            without_text.append(name)
        file_name = f"{entry['filepath']}/{name}" if entry.get("filepath") else name
        # COCO's images are kept with and without the folder of their year.
        if file_name != name and not exists(images / file_name) and exists(images / name):
            file_name = name
        split, coco_id = entry.get("split"), entry.get("cocoid")
        records.append(
            Record(
                image_id=name if coco_id is None else str(coco_id),
                path=images / file_name,
                sentences=texts,
                file_name=file_name,
                split=split if isinstance(split, str) else None,
            )
        )
    message = f"{path.name}: left out {len(bad)} images without filename or sentences"
    add_listed(notes, message, bad)
    add_listed(notes, f"{path.name}: left out sentences without raw text", without_text)
    return records


def _entries(path: AnyPath, data: Any) -> list[Any]:
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(images, list) or not images:
        raise UserError(f'{path} is not a file of Karpathy\'s, which has {{"images": [...]}}')
    if all(isinstance(image, dict) and "file_name" in image for image in images):
        raise UserError(
            f"{path} is a COCO file of captions (its images have file_name); use --dataset "
            "coco_json"
        )
    return images


def _text(sentence: Any) -> str | None:
    """Returns the raw text of a sentence, or else its joined tokens; None if it has neither."""
    if not isinstance(sentence, dict):
        return None
    if isinstance(sentence.get("raw"), str):
        return str(sentence["raw"]).strip()
    tokens = sentence.get("tokens")
    if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
        return " ".join(tokens)
    return None
