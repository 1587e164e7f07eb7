"""The base of builders that read a folder of the user's: pictures in files, texts beside them."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm
from visem_tf.datasets.problems import Problems

from visem_tf import text
from visem_tf.errors import UserError
from visem_tf.regions.pictures import PictureError, read_picture


@dataclasses.dataclass(frozen=True)
class Record:
    """One picture of a split, still in its file.

    Attributes:
        image_id: unique in the data set; "#" in it is written "%23".
        path: the picture's file.
        sentences: its sentences, in order, at least one.
        phrases: as in `visem_tf.datasets.schema.features`.
    """

    image_id: str
    path: Path
    sentences: Sequence[str]
    phrases: Sequence[dict[str, Any]] = ()


class FolderBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder that reads the folder given as `manual_dir`.

    A subclass defines `source_files`, `_info` and `_split_generators`, which returns
    `self._generate_examples(split, records)` for every split. What is wrong goes into
    `self.problems`, which is saved with the prepared files.
    """

    problems: Problems

    @classmethod
    def source_files(cls, data_dir: Path) -> list[Path]:
        """Returns every file that the data set is read from, to tell one version from another.

        Args:
            data_dir: the user's folder.

        Raises:
            UserError: a file that must be there is not.
        """
        raise NotImplementedError

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        self.problems = Problems()
        super()._download_and_prepare(*args, **kwargs)
        # Still the temporary folder: it gets its final name with everything in it, or never.
        self.problems.save(self.data_dir)

    def _generate_examples(
        self, split: str, records: Sequence[Record]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the examples of a split; unreadable pictures become problems.

        Pictures are read and checked by a few threads, some pictures ahead, so that memory does not
        grow with the data set.

        Args:
            split: its name, for messages.
            records: the pictures of the split.

        Raises:
            UserError: no picture of the split can be used.
        """
        count = 0
        title = f"preparing {self.name} {split}"
        # Shown on a terminal only.
        with tqdm(
            total=len(records), desc=title, unit=" pictures", leave=False, disable=None
        ) as bar:
            for record, picture in _read_ahead(records):
                bar.update()
                try:
                    image = picture.result()
                except PictureError as error:
                    self.problems.skipped.append(f"{split}: {error}")
                    continue
                count += 1
                yield (
                    record.image_id,
                    {
                        "image_id": record.image_id,
                        "file_name": record.path.name,
                        "image": image,
                        "sentences": list(record.sentences),
                        "phrases": list(record.phrases),
                    },
                )
        if not count:
            reasons = self.problems.skipped
            first = f" The first problem: {reasons[0]}" if reasons else ""
            raise UserError(
                f"{self.name}: no picture of the {split} split can be used; "
                f"check the pictures.{first}"
            )


def has_words(sentences: Sequence[str]) -> list[bool]:
    """Says for each sentence whether any token is left by `visem_tf.text.tokenize`.

    Args:
        sentences: N raw sentences.

    Returns:
        N booleans.

    Example:
        >>> has_words(["A dog .", " ... ", ""])
        [True, False, False]
    """
    result: list[bool] = []
    for start in range(0, len(sentences), 4096):
        chunk = [
            sentence.encode("utf-8", "replace") for sentence in sentences[start : start + 4096]
        ]
        result += (text.tokenize(chunk).row_lengths() > 0).numpy().tolist()
    return result


def safe_image_id(name: str) -> str:
    """Returns a name as an image id, which must not contain the sign that starts a sentence number.

    Example:
        >>> safe_image_id("picture#1.jpg")
        'picture%231.jpg'
    """
    return name.replace("#", "%23")


def _read_ahead(records: Sequence[Record]) -> Iterator[tuple[Record, Future[bytes]]]:
    """Yields each record with its picture being read, in order, a few ahead."""
    threads = min(8, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read_picture")
    try:
        queue: collections.deque[tuple[Record, Future[bytes]]] = collections.deque()
        remaining = iter(records)
        for record in itertools.islice(remaining, 2 * threads):
            queue.append((record, pool.submit(read_picture, record.path)))
        while queue:
            yield queue.popleft()
            for record in itertools.islice(remaining, 1):
                queue.append((record, pool.submit(read_picture, record.path)))
    finally:
        pool.shutdown(cancel_futures=True)
