"""The base class of builders that read a folder of the user's: image files and texts."""

import functools
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.locations import all_named, find_one, folders_of_images, innermost, visible
from visem_tf.datasets.phrases import phrase_rows
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.images.decode import read_image
from visem_tf.images.find import images_in
from visem_tf.images.load import read_ahead
from visem_tf.images.read import ImageError
from visem_tf.runtime.progress import progress_bar
from visem_tf.runtime.storage import AnyPath, as_path

SPLIT_OPTIONS = ("splits", "val_share", "test_share", "split_seed")
"""Fields of `DataConfig` that decide on splits."""

T = TypeVar("T")


class FolderBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder that reads a folder with image files and files of texts.

    A subclass defines `read_all`, and where one folder of images and one file of captions are not
    all it reads, `source_files`.

    Attributes:
        HOMEPAGE: Address of the page that describes the dataset; None for formats of own images.
        IMAGE_FOLDERS: Usual names of the folder of images.
        CAPTION_FILES: Usual names of the file of captions.
        CAPTION_ENDINGS: Endings of a file of captions without a usual name.
        MORE_FILES: Names of further files, which are read if they exist.
        OPTIONS: Fields of `visem_tf.config.DataConfig` that the dataset uses.
        WITHOUT_FOLDER: Names of the variants that are not read from a folder of the user's.
        options: The user's choices; they must be set before preparing, as must `root`.
        root: The user's folder, on any storage; TFDS' `manual_dir` must be on the disk.
        problems: Problems found in the data; saved with the prepared files.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "First version.",
        "1.1.0": "Corrected boxes, splits, ids and object numbers; more files are found.",
    }
    HOMEPAGE: ClassVar[str | None] = None
    IMAGE_FOLDERS: ClassVar[tuple[str, ...]] = ()
    CAPTION_FILES: ClassVar[tuple[str, ...]] = ()
    CAPTION_ENDINGS: ClassVar[tuple[str, ...]] = ()
    MORE_FILES: ClassVar[tuple[str, ...]] = ()
    OPTIONS: ClassVar[tuple[str, ...]] = ("pictures", "captions", *SPLIT_OPTIONS)
    WITHOUT_FOLDER: ClassVar[tuple[str, ...]] = ()
    options: DataConfig = DataConfig()
    root: AnyPath | None = None
    problems: Problems

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # The folder of README.md, which TFDS does not find in a check-out.
        cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

    @classmethod
    def locate(
        cls, data_dir: AnyPath, options: DataConfig, decisions: list[str] | None = None
    ) -> tuple[AnyPath, AnyPath]:
        """Returns the folder of images and the file of captions.

        Args:
            data_dir: The user's folder.
            options: May name others than the usual ones.
            decisions: List that receives what was chosen without a usual name.

        Raises:
            UserError: If one of them is missing, or several may be meant.
        """
        find = functools.partial(find_one, data_dir, options, decisions=decisions)
        images = find("pictures", "folder of images", cls.IMAGE_FOLDERS, folders_of_images)
        if not images.is_dir():
            raise UserError(
                f"{images} is not a folder; name the folder of images with --data.pictures"
            )
        captions = find("captions", "captions", cls.CAPTION_FILES, cls.other_captions)
        return innermost(images), captions

    @classmethod
    def lacks(cls, problem: str) -> UserError:
        """Returns the error of a folder in which something is missing, which says what is needed.

        Args:
            problem: What is missing, as the beginning of the message.
        """
        return UserError(f"{problem}; {cls.name} needs {cls.MANUAL_DOWNLOAD_INSTRUCTIONS}")

    @classmethod
    def other_captions(cls, data_dir: AnyPath) -> list[AnyPath]:
        """Returns the files that may be captions, judging by their endings."""
        more = {name.casefold() for name in cls.MORE_FILES}
        return [
            path
            for path in visible(data_dir)
            if path.suffix.lower() in cls.CAPTION_ENDINGS
            and path.name.casefold() not in more
            and path.is_file()
        ]

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig) -> list[AnyPath]:
        """Returns all files that the dataset is read from; if one changes, it is prepared again.

        Args:
            data_dir: The user's folder.
            options: The user's choices.

        Raises:
            UserError: If a required file is missing.
        """
        images, captions = cls.locate(data_dir, options)
        return [captions, *cls.more_files(data_dir), *images_in(images)]

    @classmethod
    def more_files(cls, data_dir: AnyPath) -> list[AnyPath]:
        """Returns the files of `MORE_FILES` that exist."""
        return [path for path in all_named(data_dir, cls.MORE_FILES) if path.is_file()]

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images that the files name, whether they exist or not.

        Args:
            data_dir: The user's folder.
            options: The user's choices.
            problems: Receives what does not fit together.

        Raises:
            UserError: If a file is missing or cannot be understood.
        """
        raise NotImplementedError

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable images of each split, without opening one.

        Args:
            data_dir: The user's folder.
            options: The user's choices.
            problems: Receives what does not fit together.

        Raises:
            UserError: If a file is missing or cannot be understood, or a split has no image.
        """
        return collect(cls.name, cls.read_all(data_dir, options, problems), options, problems)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=schema.features(), homepage=self.HOMEPAGE)

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        self.problems = Problems()
        super()._download_and_prepare(*args, **kwargs)
        # `data_dir` is still the temporary folder here, so that it gets its name when complete.
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
        """Yields the examples of a split; images that cannot be read become problems.

        The key is the file name of the image, so that all formats give the same order.
        """
        is_empty = True
        for record, future in show_progress(
            read_ahead(records, lambda record: read_image(record.read(), record.label)),
            len(records),
            f"preparing {self.name} {split}",
        ):
            try:
                image = future.result()
            except ImageError as error:
                self.problems.skipped.append(f"{split}: {error}")
                continue
            is_empty = False
            yield record.file_name, make_example(record, image, self.problems.notes)
        if is_empty:
            raise UserError(
                f"{self.name}: no image of the {split} split can be used; check the images. The "
                f"first problem: {self.problems.skipped[0]}"
            )


def make_example(record: Record, image: bytes, notes: list[str]) -> dict[str, Any]:
    """Returns an example for `visem_tf.datasets.schema.features`.

    Args:
        record: Image with its texts.
        image: The encoded image.
        notes: List that receives what is wrong with its boxes.
    """
    return {
        "image_id": record.image_id,
        "file_name": record.file_name,
        "image": image,
        "sentences": list(record.sentences),
        "phrases": phrase_rows(record, image, notes),
    }


def show_progress(items: Iterator[T], count: int, title: str) -> Iterator[T]:
    """Yields the items and shows the progress.

    Args:
        items: One item an image.
        count: Number of items.
        title: Text beside the bar.
    """
    with progress_bar(count, title, "images") as bar:
        for item in items:
            yield item
            bar.update()
