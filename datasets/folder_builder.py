"""The base of builders that read a folder of the user's: pictures in files, texts beside them."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from tqdm import tqdm

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.locations import USUAL_OPTIONS, pictures_and_captions, pictures_in
from visem_tf.datasets.phrases import phrase_rows
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.images.decode import ImageError, read_image
from visem_tf.runtime.storage import AnyPath, as_path


class FolderBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder that reads the folder given as `manual_dir`.

    A subclass defines `source_files` and `read_records`. What is wrong goes into `self.problems`,
    which is saved with the prepared files.

    Attributes:
        HOMEPAGE: where the data set is described; None for everybody's own pictures.
        OPTIONS: the fields of `visem_tf.config.DataConfig` that the data set is read by.
        WITHOUT_FOLDER: variants that are not read from a folder of the user's.
        options: the user's choices; defaults where nobody set them.
        root: the user's folder, instead of `manual_dir`: it may lie on any storage.
    """

    HOMEPAGE: ClassVar[str | None] = None
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    WITHOUT_FOLDER: ClassVar[tuple[str, ...]] = ()
    problems: Problems
    options: DataConfig = DataConfig()
    root: AnyPath | None = None

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=schema.features(), homepage=self.HOMEPAGE)

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig | None = None) -> list[AnyPath]:
        """Returns every file that the data set is read from, to tell one version from another.

        Args:
            data_dir: the user's folder.
            options: the user's choices.

        Raises:
            UserError: a file that must be there is not.
        """
        raise NotImplementedError

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split, without opening one.

        Args:
            data_dir: the user's folder.
            options: the user's choices.
            problems: receives what does not fit together.

        Raises:
            UserError: a file is missing or cannot be understood, or nothing is left of a split.
        """
        raise NotImplementedError

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        self.problems = Problems()
        super()._download_and_prepare(*args, **kwargs)
        # Still the temporary folder: it gets its final name with everything in it, or never.
        self.problems.save(self.data_dir)

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        root = as_path(dl_manager.manual_dir) if self.root is None else self.root
        records = self.read_records(root, self.options, self.problems)
        return {split: self._generate_examples(split, records[split]) for split in schema.SPLITS}

    def _generate_examples(
        self, split: str, records: Sequence[Record]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the examples of a split; unreadable pictures become problems.

        Pictures are read and checked by a few threads, some pictures ahead, so that memory does not
        grow with the data set. The key is the picture's file name: the same pictures come in the
        same order, whichever format names them.

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
            for record, picture in read_ahead(records):
                bar.update()
                try:
                    image = picture.result()
                except ImageError as error:
                    self.problems.skipped.append(f"{split}: {error}")
                    continue
                count += 1
                yield (
                    record.file_name,
                    {
                        "image_id": record.image_id,
                        "file_name": record.file_name,
                        "image": image,
                        "sentences": list(record.sentences),
                        "phrases": phrase_rows(record, image, self.problems.notes),
                    },
                )
        if not count:
            reasons = self.problems.skipped
            first = f" The first problem: {reasons[0]}" if reasons else ""
            raise UserError(
                f"{self.name}: no picture of the {split} split can be used; "
                f"check the pictures.{first}"
            )


class OwnPicturesBuilder(FolderBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder whose folder of pictures and file of captions have usual names, or given ones.

    A subclass defines `read_records`.

    Attributes:
        PICTURE_FOLDERS: usual names of the folder of pictures.
        CAPTION_FILES: usual names of the file of captions.
    """

    PICTURE_FOLDERS: ClassVar[tuple[str, ...]] = ()
    CAPTION_FILES: ClassVar[tuple[str, ...]] = ()
    OPTIONS = USUAL_OPTIONS

    @classmethod
    def places(cls, data_dir: AnyPath, options: DataConfig) -> tuple[AnyPath, AnyPath]:
        """The folder of the pictures and the file of the captions, see `pictures_and_captions`."""
        return pictures_and_captions(
            data_dir, options, pictures=cls.PICTURE_FOLDERS, captions=cls.CAPTION_FILES
        )

    @classmethod
    def other_files(cls, data_dir: AnyPath) -> Sequence[AnyPath]:
        """What the data set is read from besides; nothing by default."""
        del data_dir
        return ()

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig | None = None) -> list[AnyPath]:
        """Returns the captions, what else is there, and all pictures of the folder."""
        pictures, captions = cls.places(data_dir, options or DataConfig())
        return [captions, *cls.other_files(data_dir), *pictures_in(pictures)]


def read_ahead(records: Sequence[Record], read: Any = None) -> Iterator[tuple[Record, Future[Any]]]:
    """Yields each record with its picture being read by another thread, in order, a few ahead.

    Args:
        records: the pictures.
        read: takes a path; `read_image` by default.
    """
    read = read_image if read is None else read
    threads = min(8, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read_image")
    try:
        queue: collections.deque[tuple[Record, Future[Any]]] = collections.deque()
        remaining = iter(records)
        for record in itertools.islice(remaining, 2 * threads):
            queue.append((record, pool.submit(read, record.path)))
        while queue:
            yield queue.popleft()
            for record in itertools.islice(remaining, 1):
                queue.append((record, pool.submit(read, record.path)))
    finally:
        pool.shutdown(cancel_futures=True)
