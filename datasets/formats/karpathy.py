"""Karpathy's `dataset_flickr8k.json` and its kin: pictures, sentences and splits in one file.

{"dataset", "images": [{"imgid", "filename", "filepath", "cocoid", "split", "sentids",
 "sentences": [{"tokens", "raw", "imgid", "sentid"}]}]}
"""

from __future__ import annotations

from typing import Any

from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.problems import listed
from visem_tf.datasets.records import Record, safe_image_id
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath


def read_karpathy(path: AnyPath, pictures: AnyPath, notes: list[str]) -> list[Record]:
    """Reads such a file.

    Args:
        path: the file.
        pictures: the folder that its file names are below.
        notes: receives what was wrong with it.

    Returns:
        A record for every picture, in the order of the file. The image id is the COCO id where
        there is one, and else the file name.

    Raises:
        UserError: the file cannot be read or is of another form.
    """
    records, bad, silent = [], [], []
    for number, image in enumerate(_images(path, read_json(path, notes))):
        name = image.get("filename") if isinstance(image, dict) else None
        sentences = image.get("sentences") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name or not isinstance(sentences, list):
            bad.append(str(number))
            continue
        file_name = f"{image['filepath']}/{name}" if image.get("filepath") else name
        # COCO's pictures are kept with and without the folder of their year.
        if image.get("filepath") and not (pictures / file_name).exists():
            file_name = name if (pictures / name).exists() else file_name
        raw: list[str] = []
        for sentence in sentences:
            text = _text(sentence)
            if text is None:
                silent.append(f"{name}#{len(raw)}")
            else:
                raw.append(text)
        split = image.get("split")
        records.append(
            Record(
                image_id=safe_image_id(str(image.get("cocoid", name))),
                path=pictures / file_name,
                sentences=raw,
                file_name=file_name,
                split=split if isinstance(split, str) else None,
            )
        )
    if bad:
        notes.append(
            f"{path.name}: left out {len(bad)} images without filename or sentences: {listed(bad)}"
        )
    if silent:
        notes.append(f"{path.name}: left out sentences without raw text: {listed(silent)}")
    return records


def _images(path: AnyPath, data: Any) -> list[Any]:
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(images, list) or not images:
        raise UserError(f'{path} is no file of Karpathy\'s: it must hold {{"images": [...]}}')
    if all(isinstance(image, dict) and "file_name" in image for image in images):
        raise UserError(
            f"{path} is a COCO file of captions (its images have file_name); use --dataset "
            "coco_json"
        )
    return images


def _text(sentence: Any) -> str | None:
    """The raw text of a sentence; joined tokens where there is none."""
    if not isinstance(sentence, dict):
        return None
    if isinstance(sentence.get("raw"), str):
        return str(sentence["raw"]).strip()
    tokens = sentence.get("tokens")
    if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
        return " ".join(tokens)
    return None
