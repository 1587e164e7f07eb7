"""The base of builders of a folder of pictures and one file with what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.locations import USUAL_OPTIONS, pictures_and_captions, pictures_in
from visem_tf.runtime.storage import AnyPath


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
