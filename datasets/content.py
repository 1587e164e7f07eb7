"""What a data set holds, in digests: the same pictures and texts are known wherever they lie.

Prepared files are named after their sources, with the time of each; a folder that was copied is
prepared again, which is quick. What is derived from them - features, trained models - is named
after the content instead, so that it outlives a copy, a restored backup or a new clock.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from visem_tf.runtime.files import write_atomically

FILE_NAME = "content.json"

_PICTURES_AT_A_TIME = 64


def picture_digest(pictures: tf.data.Dataset, count: int, description: str) -> str:
    """Returns 64 hexadecimal digits of encoded pictures in their order.

    Args:
        pictures: string scalars.
        count: how many there are.
        description: stands beside the progress bar.

    Example:
        >>> one = picture_digest(tf.data.Dataset.from_tensor_slices(["ab", "c"]), 2, "pictures")
        >>> other = picture_digest(tf.data.Dataset.from_tensor_slices(["a", "bc"]), 2, "pictures")
        >>> len(one), one == other
        (64, False)
    """
    digest = hashlib.sha256()
    with tqdm(total=count, desc=description, unit=" pictures", leave=False, disable=None) as bar:
        for batch in pictures.batch(_PICTURES_AT_A_TIME).prefetch(1).as_numpy_iterator():
            for encoded in batch:
                digest.update(hashlib.sha256(encoded).digest())
            bar.update(len(batch))
    return digest.hexdigest()


def text_digest(*parts: Any) -> str:
    """Returns 64 hexadecimal digits of texts and numbers.

    Args:
        parts: lists of strings, arrays of numbers, or None.

    Example:
        >>> text_digest(["a dog"], None) == text_digest(["a dog"], np.zeros(1))
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str} {part.shape} ".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def read_digests(folder: Path) -> dict[str, str] | None:
    """Returns the digests that were kept with prepared files, or None if there are none yet."""
    try:
        found = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def keep_digests(folder: Path, digests: dict[str, str]) -> None:
    """Keeps digests, by the names of splits, with prepared files."""
    write_atomically(folder / FILE_NAME, json.dumps(digests, indent=1) + "\n")
