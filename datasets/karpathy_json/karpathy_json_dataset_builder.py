"""Images with Karpathy's `dataset.json`, as neuraltalk uses it."""

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.runtime.storage import AnyPath


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    IMAGE_FOLDERS = ("images", "imgs", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images")
    CAPTION_FILES = (
        "dataset.json",
        "dataset_flickr8k.json",
        "dataset_flickr30k.json",
        "dataset_coco.json",
    )
    CAPTION_ENDINGS = (".json",)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with images/ and dataset.json or one of {', '.join(CAPTION_FILES[1:])}"
    )

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images that the file names."""
        images, captions = cls.locate(data_dir, options, problems.decisions)
        return read_karpathy(captions, images, problems.notes)
