"""Shards of an index of images: vectors on disk, checked when they are opened.

    shard-00000-6b1f/     some images, written whole or not at all
        images.npy        records: key and name of each image
        vectors.npy       float16 [n, D]: one vector per image, see `image_vectors`
        regions.npy       records: embeddings, float16 [R, D], boxes, scores, mask of the regions,
                          and the hubness of the image

The key of an image is that of `visem_tf.regions.image_cache.image_key`. It is empty where a newer
version of the same file is in a later shard.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visem_tf.regions.shards import as_records, is_finite, is_sound, open_array, record_fields
from visem_tf.runtime.files import atomic_folder, save_array


class Shard(NamedTuple):
    """A shard of n images.

    Attributes:
        images: Records [n] of "key" and "name", the path in the encoding of the file system.
        vectors: float16 [n, D].
        regions: Records [n] of the fields of `EmbeddedRegions`.
    """

    images: np.ndarray
    vectors: np.ndarray
    regions: np.ndarray


class EmbeddedRegions(NamedTuple):
    """The regions of B images in the space that regions and words share, as NumPy arrays.

    Attributes:
        embeddings: float [B, R, D]; region 0 is the whole frame.
        boxes: float [B, R, 4], `rel_yxyx`.
        scores: float [B, R], of the proposer.
        mask: bool [B, R], True for real regions.
        hubness: float [B], what is subtracted from the scores of the images.
    """

    embeddings: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    mask: np.ndarray
    hubness: np.ndarray


_OF_REGIONS = EmbeddedRegions._fields[:4]


def image_vectors(embeddings: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Computes one vector for each image, by which the candidates of a search are found.

    Its product with the sum of the words of a sentence approximates S_kl of section 3.1.3. It is
    the mean of two vectors: that of the whole frame, and the mean of all real regions.

    Args:
        embeddings: Region embeddings, float [B, R, D]; region 0 is the whole frame.
        mask: Boolean array [B, R], True for real regions.

    Returns:
        float32 [B, D].

    Example:
        >>> image_vectors(np.array([[[4.0], [2.0], [9.0]]]), np.array([[True, True, False]]))
        array([[3.5]], dtype=float32)
    """
    weights = mask.astype(np.float32) / mask.sum(axis=1, keepdims=True, dtype=np.float32)
    weights[:, 0] += 1
    return np.einsum("br,brd->bd", weights / 2, np.asarray(embeddings, np.float32))


def make_shard(keys: Sequence[bytes], names: Sequence[str], regions: EmbeddedRegions) -> Shard:
    """Returns the arrays of a shard.

    Args:
        keys: Keys of the n images.
        names: Paths of the n images.
        regions: Regions of the n images; their embeddings are stored in 16 bits.
    """
    encoded = np.array([os.fsencode(name) for name in names])
    images = as_records([("key", "S32"), ("name", encoded.dtype)], [list(keys), encoded])
    fields = _fields(*regions.embeddings.shape[1:])
    with np.errstate(over="ignore", invalid="ignore"):  # `is_sound_shard` finds both
        vectors = image_vectors(regions.embeddings, regions.mask).astype(np.float16)
        return Shard(images, vectors, as_records(fields, regions))


def write_shard(path: Path, shard: Shard) -> None:
    """Writes a shard, whole or not at all.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    with atomic_folder(path) as temporary:
        for name, array in shard._asdict().items():
            save_array(temporary / f"{name}.npy", array)


def open_shard(path: Path, embedding_dim: int) -> Shard | None:
    """Opens a shard, mapped into memory, and checks the sizes and types of its arrays.

    Args:
        path: Folder of the shard.
        embedding_dim: D.

    Returns:
        The shard; None if a file is missing or not whole, or an array has another size or type.

    Raises:
        OSError: A file cannot be read, or too many are open.
    """
    images, vectors, regions = (open_array(path / f"{name}.npy") for name in Shard._fields)
    if images is None or vectors is None or regions is None:
        return None
    if regions.dtype.names != EmbeddedRegions._fields:
        return None
    shape = regions.dtype["embeddings"].shape
    is_valid = (
        images.dtype.names == ("key", "name")
        and vectors.dtype == np.float16
        and vectors.shape == (*regions.shape, embedding_dim)
        and images.shape == regions.shape
        and shape[1:] == (embedding_dim,)
        and regions.dtype == np.dtype(_fields(*shape))
    )
    return Shard(images, vectors, regions) if is_valid else None


def is_sound_shard(shard: Shard) -> bool:
    """Returns whether all numbers of a shard are finite, and every image has a region."""
    return is_finite(shard.vectors) and are_sound_regions(shard.regions)


def are_sound_regions(records: np.ndarray) -> bool:
    """Returns whether all numbers of records are finite, and every image has a region."""
    return is_sound(records, _OF_REGIONS) and bool(np.isfinite(records["hubness"]).all())


def _fields(num_regions: int, embedding_dim: int) -> list[tuple]:
    """The fields of a record of `EmbeddedRegions`."""
    return [*record_fields(num_regions, embedding_dim, names=_OF_REGIONS), ("hubness", "<f4")]
