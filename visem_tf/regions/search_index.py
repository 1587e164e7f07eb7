"""An index of images for search, on disk: `index.json`, which names the model, and shards.

A search computes one product of every image with the sum of the words of a sentence, and then the
score of section 3.1.3 for the best candidates only. Shards are mapped into memory, and read one
after the other, so that memory does not grow with the number of images.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.regions.index_shards import (
    EmbeddedRegions,
    Shard,
    are_sound_regions,
    is_sound_shard,
    make_shard,
    open_shard,
    write_shard,
)
from visem_tf.runtime.files import save_array, write_atomically
from visem_tf.runtime.json_files import read_json

_FORMAT = 2
_KEY_FILE = "index.json"
_ADVICE = "give another --index"

SHARD_SIZE = 1024
"""Number of images in a shard; the last shard of a build has fewer."""


class SearchIndex:
    """The images of an index, opened by `open_index` or `create_index`.

    The position of an image is its number among the images of all shards in order.

    Args:
        folder: Folder on the disk.
        place: Folder as the user gave it, for messages.
        embedding_dim: D.
        repair: Whether everything is read and checked, and damaged shards are removed with a
            warning. Otherwise a damaged shard is an error, which a search finds where it reads.

    Raises:
        UserError: A shard is damaged.
        OSError: A shard cannot be read, or too many files are open.
    """

    def __init__(
        self, folder: Path, place: str, embedding_dim: int, *, repair: bool = False
    ) -> None:
        self.folder = folder
        self.place = place
        self._embedding_dim = embedding_dim
        self._paths: list[Path] = []
        self._shards: list[Shard] = []
        self._is_current: list[np.ndarray] = []
        for path in sorted(folder.glob("shard-*")):
            shard = self._open(path)
            if shard is not None and (not repair or is_sound_shard(shard)):
                self._append(path, shard)
            elif repair:
                print(
                    f"visem_tf: warning: the shard {path.name} of the index {place} is damaged and "
                    "was removed; its images are read again where --images names them",
                    file=sys.stderr,
                )
                shutil.rmtree(path)
            else:
                raise self._damaged(path)

    def __len__(self) -> int:
        """Number of images, without replaced versions."""
        return int(sum(map(np.count_nonzero, self._is_current)))

    @property
    def keys(self) -> np.ndarray:
        """Keys of all images, bytes [I]; those of replaced versions are empty."""
        return np.concatenate([np.zeros(0, "S32"), *(each.images["key"] for each in self._shards)])

    def names(self, positions: np.ndarray) -> list[str]:
        """Returns the paths of images."""
        shards, rows = self._locate(positions)
        return [
            os.fsdecode(self._shards[shard].images["name"][row])
            for shard, row in zip(shards, rows, strict=True)
        ]

    def add(self, keys: Sequence[bytes], names: Sequence[str], regions: EmbeddedRegions) -> None:
        """Writes a shard.

        Args:
            keys: Keys of the B images.
            names: Paths of the B images.
            regions: Regions of the B images; their embeddings are stored in 16 bits.

        Raises:
            UserError: A number is NaN, infinite, or too large for 16 bits.
            OSError: The disk is full, or cannot be written; the index stays as it was.
        """
        shard = make_shard(keys, names, regions)
        if not is_sound_shard(shard):
            raise UserError(
                "region embeddings contain NaN, infinity or numbers beyond half precision; use "
                "another model"
            )
        number = 1 + int(self._paths[-1].name.split("-")[1]) if self._paths else 0
        path = self.folder / f"shard-{number:05d}-{secrets.token_hex(2)}"
        write_shard(path, shard)
        opened = self._open(path)
        if opened is None:
            raise self._damaged(path)
        self._append(path, opened)

    def drop_replaced(self) -> None:
        """Empties the keys of images of which a later shard has a newer version."""
        current = np.flatnonzero(np.concatenate([np.zeros(0, bool), *self._is_current]))
        if not len(current):
            return
        names = np.concatenate([shard.images["name"] for shard in self._shards])[current]
        _, from_end = np.unique(names[::-1], return_index=True)
        replaced = np.delete(current, len(names) - 1 - from_end)
        shards, rows = self._locate(replaced)
        for shard in np.unique(shards):
            images = np.array(self._shards[shard].images)
            images["key"][rows[shards == shard]] = b""
            save_array(self._paths[shard] / "images.npy", images)
            self._shards[shard] = self._shards[shard]._replace(images=images)
            self._is_current[shard] = images["key"] != b""

    def candidates(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Finds the images whose vectors have the largest products with queries.

        Args:
            queries: Sums of the word embeddings of N sentences, float32 [N, D].
            count: Number C of images for each sentence; at most all images are returned.

        Returns:
            Positions in ascending order, int64 [N, C].

        Raises:
            UserError: A shard is damaged.
        """
        count = min(count, len(self))
        best = np.zeros([len(queries), 0], np.int64)
        best_products = np.zeros([len(queries), 0], np.float32)
        for path, shard, is_current, start in zip(
            self._paths, self._shards, self._is_current, self._starts[:-1], strict=True
        ):
            # TensorFlow converts 16 bits with the instructions of the processor, NumPy without.
            vectors = tf.cast(tf.constant(shard.vectors), tf.float32)
            products = tf.matmul(queries, vectors, transpose_b=True).numpy()
            if not np.isfinite(products).all():
                raise self._damaged(path)
            positions = np.tile(start + np.flatnonzero(is_current), [len(queries), 1])
            best = np.hstack([best, positions])
            best_products = np.hstack([best_products, products[:, is_current]])
            if best.shape[1] > count:
                kept = np.argpartition(-best_products, count - 1)[:, :count]
                best = np.take_along_axis(best, kept, axis=1)
                best_products = np.take_along_axis(best_products, kept, axis=1)
        return np.sort(best, axis=1)

    def gather(self, positions: np.ndarray) -> EmbeddedRegions:
        """Returns the regions of images.

        Args:
            positions: Positions of B images, at least one.

        Returns:
            The regions, with embeddings in float32.

        Raises:
            UserError: A shard is damaged.
        """
        shards, rows = self._locate(positions)
        records = np.empty(len(positions), self._shards[0].regions.dtype)
        for shard in np.unique(shards):
            chosen = shards == shard
            records[chosen] = self._shards[shard].regions[rows[chosen]]
            if not are_sound_regions(records[chosen]):
                raise self._damaged(self._paths[shard])
        parts = EmbeddedRegions(*(records[name] for name in EmbeddedRegions._fields))
        embeddings = tf.cast(tf.constant(parts.embeddings), tf.float32)
        return parts._replace(embeddings=embeddings.numpy())

    def _open(self, path: Path) -> Shard | None:
        """Opens a shard; None if it is damaged, or has another number of regions than the first."""
        shard = open_shard(path, self._embedding_dim)
        if shard and self._shards and shard.regions.dtype != self._shards[0].regions.dtype:
            return None
        return shard

    def _append(self, path: Path, shard: Shard) -> None:
        self._paths.append(path)
        self._shards.append(shard)
        self._is_current.append(shard.images["key"] != b"")

    @property
    def _starts(self) -> np.ndarray:
        """Position of the first image of every shard, and the number of all positions."""
        return np.cumsum([0, *map(len, self._is_current)])

    def _locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shards of positions, and the rows in them."""
        starts = self._starts
        shards = np.searchsorted(starts, positions, side="right") - 1
        return shards, positions - starts[shards]

    def _damaged(self, path: Path) -> UserError:
        return UserError(
            f"the shard {path.name} of the index {self.place} is damaged; index its images again "
            f"by python -m visem_tf.search --index {self.place} --images DIR"
        )


def create_index(folder: Path, place: str, key: Mapping[str, Any]) -> SearchIndex:
    """Opens an index to add images to it, or makes a new one.

    Args:
        folder: Folder on the disk, which need not exist.
        place: Folder as the user gave it, for messages.
        key: Model of the index: "model", its name; "digest", which differs for every other model;
            and "embedding_dim".

    Returns:
        The index, without damaged shards.

    Raises:
        UserError: The folder has other files, or is an index of another model or format.
        OSError: The folder cannot be written, a shard cannot be read, or too many files are open.
    """
    if folder.is_dir() and any(folder.iterdir()):
        _check(folder, place, key)
    write_atomically(folder / _KEY_FILE, json.dumps({"format": _FORMAT, **key}, indent=1) + "\n")
    return SearchIndex(folder, place, key["embedding_dim"], repair=True)


def open_index(folder: Path, place: str, key: Mapping[str, Any]) -> SearchIndex:
    """Opens an index to search it.

    Args:
        folder: Folder on the disk.
        place: Folder as the user gave it, for messages.
        key: Model of the index, see `create_index`.

    Raises:
        UserError: There is no index, it is of another model or format, has no image, or is damaged.
        OSError: A shard cannot be read, or too many files are open.
    """
    _check(folder, place, key)
    index = SearchIndex(folder, place, key["embedding_dim"])
    if not len(index):
        raise UserError(f"the index {place} has no images; add some by --images DIR")
    return index


def _check(folder: Path, place: str, key: Mapping[str, Any]) -> None:
    """Checks that a folder is an index of a model."""
    if not (folder / _KEY_FILE).is_file():
        what = f"is not an index (it has no {_KEY_FILE})" if folder.exists() else "does not exist"
        raise UserError(f"the index {place} {what}; build one in a new folder by --images DIR")
    found = read_json(folder / _KEY_FILE, dict[str, Any], _ADVICE)
    if found.get("format") != _FORMAT:
        raise UserError(
            f"the index {place} has format {found.get('format')}, and this version of visem_tf "
            f"reads format {_FORMAT}; {_ADVICE}"
        )
    if any(found.get(name) != value for name, value in key.items() if name != "model"):
        raise UserError(
            f"the index {place} was built with another model or other regions (by "
            f"{found.get('model')}) than {key['model']} has; use the same, or {_ADVICE}"
        )
