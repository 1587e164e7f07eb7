"""A folder of images with a text file beside each: `name.jpg` and `name.txt`."""

import collections

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import SPLIT_OPTIONS, FolderBuilder
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.locations import below
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record
from visem_tf.datasets.splits import split_of
from visem_tf.errors import UserError
from visem_tf.images.find import images_in
from visem_tf.runtime.storage import AnyPath


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    OPTIONS = ("pictures", *SPLIT_OPTIONS)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "a folder with name.txt beside each name.jpg, a sentence in each line; folders train/, "
        "val/ and test/ in it are splits"
    )

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig) -> list[AnyPath]:
        """Returns all images and the texts beside them."""
        images = images_in(_image_folder(data_dir, options))
        return [*images, *(text for text in map(_text_beside, images) if text.is_file())]

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images of the folder."""
        folder = _image_folder(data_dir, options)
        images_of: dict[AnyPath, list[AnyPath]] = collections.defaultdict(list)
        for image in images_in(folder):
            images_of[_text_beside(image)].append(image)
        if not images_of:
            raise UserError(f"{folder} contains no images; give the folder with --data-dir")
        ambiguous = [
            " and ".join(image.name for image in images)
            for images in images_of.values()
            if len(images) > 1
        ]
        if ambiguous:
            raise UserError(
                f"{folder}: two images share one text, which does not say which image it "
                f"describes: {listed(ambiguous)}; rename one of them"
            )
        records = []
        for text, (image,) in images_of.items():
            lines = _lines_of(text, problems)
            sentences = [line.strip() for line in lines if line.strip()]
            name = image.relative_to(folder).as_posix()
            first, slash, _ = name.partition("/")
            split = first if slash and split_of(first) else None
            records.append(Record(name, image, sentences, file_name=name, split=split))
        return records


def _image_folder(data_dir: AnyPath, options: DataConfig) -> AnyPath:
    folder = below(data_dir, options.pictures) if options.pictures else data_dir
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; correct --data.pictures")
    return folder


def _lines_of(text: AnyPath, problems: Problems) -> list[str]:
    """Returns the lines of a text; one that cannot be read costs its image only."""
    try:
        return read_lines(text, problems.notes) if text.is_file() else []
    except UserError as error:
        problems.notes.append(str(error))
        return []


def _text_beside(image: AnyPath) -> AnyPath:
    return image.parent / f"{image.stem}.txt"
