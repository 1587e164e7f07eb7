"""Embeddings from elsewhere, to be ranked by the same code: `evaluate --against FILE.npz`.

The file holds NumPy arrays, all of them plain numbers or texts:

| array | shape | |
|---|---|---|
| `region_embeddings` or `image_embeddings` | [I, R, D] or [I, D] | several a picture, or one |
| `word_embeddings` or `sentence_embeddings` | [S, T, D] or [S, D] | one a word, or a sentence |
| `region_mask`, `word_mask` | bool [I, R], [S, T] | True = real; by default all are |
| `image_index` | int [S] | the picture of every sentence; by default that of the run's split |
| `scores` | [I, S] | instead of embeddings: any scores, the higher the better |

A picture and a sentence score the sum over words of the largest dot product with a region, which
for one vector each is their dot product. Who means the cosine divides by the lengths first.
"""

import os
import zipfile
from dataclasses import dataclass

import numpy as np

from visem_tf.errors import UserError
from visem_tf.runtime.storage import as_path, readable

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
    """What such a file holds, checked: either `scores` or the other arrays.

    Attributes:
      region_embeddings: float32 [I, R, D].
      word_embeddings: float32 [S, T, D].
      region_mask: bool [I, R].
      word_mask: bool [S, T].
      scores: float [I, S].
      image_index: int [S], or None where the file has none.
    """

    region_embeddings: np.ndarray | None = None
    word_embeddings: np.ndarray | None = None
    region_mask: np.ndarray | None = None
    word_mask: np.ndarray | None = None
    scores: np.ndarray | None = None
    image_index: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """I and S."""
        if self.scores is not None:
            return self.scores.shape[0], self.scores.shape[1]
        assert self.region_embeddings is not None
        assert self.word_embeddings is not None
        return len(self.region_embeddings), len(self.word_embeddings)


def read_vectors(path: str | os.PathLike[str]) -> Vectors:
    """Reads and checks such a file.

    Raises:
      UserError: it is missing or no `.npz` file, an array is missing, unknown, not of numbers, has
        NaN, or a shape that does not fit the others.
    """
    arrays = _read(path)
    unknown = sorted(set(arrays) - set(_ARRAYS))
    if unknown:
        raise UserError(f"{path} has an unknown array {unknown[0]!r}; known: {', '.join(_ARRAYS)}")
    image_index = arrays.get("image_index")
    if "scores" in arrays:
        scores = _numbers(path, "scores", arrays["scores"], (2,))
        vectors = Vectors(scores=scores)
    else:
        regions = _embeddings(path, arrays, "region_embeddings", "image_embeddings")
        words = _embeddings(path, arrays, "word_embeddings", "sentence_embeddings")
        if regions.shape[2] != words.shape[2]:
            raise UserError(
                f"{path}: pictures have vectors of {regions.shape[2]} numbers and sentences of "
                f"{words.shape[2]}; they must be in one space"
            )
        region_mask = _mask(path, "region_mask", arrays, regions)
        word_mask = _mask(path, "word_mask", arrays, words)
        if not region_mask.any(axis=1).all():
            row = int(np.argmin(region_mask.any(axis=1)))
            raise UserError(f"{path}: region_mask leaves picture {row} without a region")
        vectors = Vectors(regions, words, region_mask, word_mask)
    if image_index is None:
        return vectors
    images, sentences = vectors.shape
    check_image_index(path, image_index, images, sentences)
    return Vectors(**{**vectors.__dict__, "image_index": image_index})


def check_image_index(path: object, image_index: np.ndarray, images: int, sentences: int) -> None:
    """Refuses an index that does not lead from every sentence to a picture.

    Raises:
      UserError: see above.
    """
    if image_index.shape != (sentences,) or image_index.dtype.kind not in "iu":
        raise UserError(
            f"{path}: image_index must be {sentences} integers, one a sentence, not "
            f"{image_index.dtype} of shape {image_index.shape}"
        )
    if image_index.min() < 0 or image_index.max() >= images:
        raise UserError(
            f"{path}: image_index must be from 0 to {images - 1}, as there are {images} pictures, "
            f"not {image_index.min()} to {image_index.max()}"
        )


def _read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        file = np.load(readable(as_path(path)), allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise UserError(f"{path} is a single array; give an .npz file with names")
        with file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no .npz file of plain arrays: {error}") from error


def _embeddings(
    path: object, arrays: dict[str, np.ndarray], several: str, single: str
) -> np.ndarray:
    """Vectors as [N, vectors, D], whichever of the two names they have."""
    given = [name for name in (several, single) if name in arrays]
    if len(given) != 1:
        raise UserError(f"{path} must have one of {several} and {single}, it has {len(given)}")
    array = _numbers(path, given[0], arrays[given[0]], (3,) if given[0] == several else (2,))
    array = array.astype(np.float32, copy=False)
    return array if array.ndim == 3 else array[:, np.newaxis]


def _numbers(path: object, name: str, array: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path}: {name} must be numbers, not {array.dtype}")
    if array.ndim not in dims or not array.size:
        raise UserError(
            f"{path}: {name} must have {dims[0]} axes, none of them empty, not shape {array.shape}"
        )
    flat = array.reshape(len(array), -1)
    # Scores may be infinite: they are only compared.
    bad = (np.isnan(flat) if name == "scores" else ~np.isfinite(flat)).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"{path}: {name} has NaN or infinite numbers, the first in row {row}")
    return array


def _mask(
    path: object, name: str, arrays: dict[str, np.ndarray], vectors: np.ndarray
) -> np.ndarray:
    mask = arrays.get(name)
    if mask is None:
        return np.ones(vectors.shape[:2], bool)
    if mask.shape != vectors.shape[:2] or mask.dtype != bool:
        raise UserError(
            f"{path}: {name} must be bool {list(vectors.shape[:2])}, not {mask.dtype} "
            f"{list(mask.shape)}"
        )
    return mask
