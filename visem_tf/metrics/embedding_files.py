"""Embeddings of other programs, ranked by the same code: `evaluate --against FILE.npz`.

The file holds plain NumPy arrays:

| array | shape | |
|---|---|---|
| `region_embeddings` or `image_embeddings` | [I, R, D] or [I, D] | several per image, or one |
| `word_embeddings` or `sentence_embeddings` | [S, T, D] or [S, D] | one per word, or per sentence |
| `region_mask`, `word_mask` | bool [I, R], [S, T] | True for real ones; by default all are |
| `image_index` | int [S] | the image of every sentence; by default that of the run's split |
| `scores` | [I, S] | instead of embeddings: any scores, the higher the better |

The score of an image and a sentence is the sum over words of the largest dot product with a region,
which is their dot product if each has one vector. For the cosine, divide vectors by their norms.
"""

import os
from dataclasses import dataclass

import numpy as np

from visem_tf.errors import UserError
from visem_tf.runtime.arrays import read_arrays

_ARRAYS = (
    "region_embeddings",
    "image_embeddings",
    "word_embeddings",
    "sentence_embeddings",
    "region_mask",
    "word_mask",
    "image_index",
    "scores",
)


@dataclass(frozen=True)
class Vectors:
    """Checked content of a file: either `scores`, or embeddings and their masks.

    Attributes:
        region_embeddings: Float32 array [I, R, D].
        word_embeddings: Float32 array [S, T, D].
        region_mask: Boolean array [I, R].
        word_mask: Boolean array [S, T].
        scores: Float array [I, S].
        image_index: Integer array [S]; None if the file has none.
    """

    region_embeddings: np.ndarray | None = None
    word_embeddings: np.ndarray | None = None
    region_mask: np.ndarray | None = None
    word_mask: np.ndarray | None = None
    scores: np.ndarray | None = None
    image_index: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of images and sentences, I and S."""
        if self.scores is not None:
            return self.scores.shape[0], self.scores.shape[1]
        assert self.region_embeddings is not None
        assert self.word_embeddings is not None
        return len(self.region_embeddings), len(self.word_embeddings)


def read_vectors(path: str | os.PathLike[str]) -> Vectors:
    """Reads and checks a file of embeddings.

    Args:
        path: Path of an `.npz` file.

    Raises:
        UserError: If the file is missing or is not an `.npz` file; if an array is missing, has an
            unknown name, does not contain numbers, contains NaN, or does not fit the others.
    """
    arrays = _read(path)
    unknown = sorted(set(arrays) - set(_ARRAYS))
    if unknown:
        raise UserError(f"{path} has an unknown array {unknown[0]!r}; known: {', '.join(_ARRAYS)}")
    image_index = arrays.get("image_index")
    if "scores" in arrays:
        scores = _numbers(path, "scores", arrays["scores"], 2)
        vectors = Vectors(scores=scores, image_index=image_index)
    else:
        regions, region_mask = _embeddings(path, arrays, "region", "image")
        words, word_mask = _embeddings(path, arrays, "word", "sentence")
        if regions.shape[2] != words.shape[2]:
            raise UserError(
                f"{path}: image vectors have length {regions.shape[2]} and sentence vectors "
                f"{words.shape[2]}; they must be in one space"
            )
        empty = ~region_mask.any(axis=1)
        if empty.any():
            raise UserError(f"{path}: region_mask leaves image {empty.argmax()} without a region")
        vectors = Vectors(regions, words, region_mask, word_mask, None, image_index)
    if image_index is not None:
        _check_image_index(path, image_index, *vectors.shape)
    return vectors


def _check_image_index(path: object, image_index: np.ndarray, images: int, sentences: int) -> None:
    if image_index.shape != (sentences,) or image_index.dtype.kind not in "iu":
        raise UserError(
            f"{path}: image_index must be {sentences} integers, one per sentence, not "
            f"{image_index.dtype} of shape {image_index.shape}"
        )
    if image_index.min() < 0 or image_index.max() >= images:
        raise UserError(
            f"{path}: image_index must be from 0 to {images - 1}, as there are {images} images, "
            f"not {image_index.min()} to {image_index.max()}"
        )


def _read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not an .npz file of plain arrays: {error}") from error


def _embeddings(
    path: object, arrays: dict[str, np.ndarray], several: str, single: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns vectors as float32 [N, vectors, D], under either of their two names, and a mask."""
    names = (f"{several}_embeddings", f"{single}_embeddings")
    given = [name for name in names if name in arrays]
    if len(given) != 1:
        raise UserError(f"{path} must have one of {names[0]} and {names[1]}, it has {len(given)}")
    array = _numbers(path, given[0], arrays[given[0]], 3 if given[0] == names[0] else 2)
    array = array.astype(np.float32, copy=False).reshape(len(array), -1, array.shape[-1])
    shape, name = array.shape[:2], f"{several}_mask"
    mask = arrays.get(name, np.ones(shape, bool))
    if mask.shape != shape or mask.dtype != bool:
        raise UserError(
            f"{path}: {name} must be bool {list(shape)}, not {mask.dtype} {list(mask.shape)}"
        )
    return array, mask


def _numbers(path: object, name: str, array: np.ndarray, axes: int) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path}: {name} must be numbers, not {array.dtype}")
    if array.ndim != axes or not array.size:
        raise UserError(
            f"{path}: {name} must have {axes} axes, none of them empty, not shape {array.shape}"
        )
    # Scores may be infinite: they are only compared.
    bad = np.isnan(array) if name == "scores" else ~np.isfinite(array)
    if bad.any():
        row = int(np.argmax(bad.reshape(len(array), -1).any(axis=1)))
        raise UserError(f"{path}: {name} has NaN or infinite numbers, the first in row {row}")
    return array
