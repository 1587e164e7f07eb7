"""Images with a file of JSON lines: an object a line, for an image or for a sentence."""

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.json_lines import read_json_lines
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.runtime.storage import AnyPath


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    IMAGE_FOLDERS = ("images",)
    CAPTION_FILES = ("captions.jsonl", "metadata.jsonl", "data.jsonl")
    CAPTION_ENDINGS = (".jsonl",)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        'a folder with images/ and captions.jsonl, whose lines are like {"image": "a.jpg", '
        '"sentences": ["A dog.", "A brown dog."], "split": "train"}'
    )

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images of the lines."""
        images, captions = cls.locate(data_dir, options, problems.decisions)
        records = read_json_lines(captions, images, problems.notes)
        if not records:
            raise cls.lacks(f"{captions} has no line that can be used")
        return records
