"""Flickr30K from the files that are in use, with Flickr30k Entities if its folder exists."""

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.captions import read_table, table_records
from visem_tf.datasets.formats.entities import (
    ARCHIVE,
    FOLDERS,
    entities_files,
    find_entities,
    with_entities,
)
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.datasets.splits import assign_splits, find_lists, read_lists
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

PICTURES = ("flickr30k-images", "flickr30k_images", "images")
KARPATHY_FILE = "dataset_flickr30k.json"
TOKEN_FILE = "results_20130124.token"


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    IMAGE_FOLDERS = PICTURES
    CAPTION_FILES = (KARPATHY_FILE, TOKEN_FILE, "results.csv")
    HOMEPAGE = "https://shannon.cs.illinois.edu/DenotationGraph/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with {PICTURES[0]}/ and {KARPATHY_FILE} or {TOKEN_FILE}: the images (a form at "
        f"{HOMEPAGE}) unpacked from flickr30k-images.tar.gz, and {KARPATHY_FILE} from Karpathy's "
        "caption_datasets.zip "
        "(https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip); for boxes "
        f"of phrases, {FOLDERS[0]}/ (https://github.com/BryanPlummer/flickr30k_entities, with "
        f"{ARCHIVE} in it, packed or unpacked)"
    )

    @classmethod
    def more_files(cls, data_dir: AnyPath) -> list[AnyPath]:
        """Returns the files of Flickr30k Entities, if they exist."""
        entities = find_entities(data_dir)
        if entities is None:
            return []
        return [*find_lists(entities).values(), *entities_files(entities)]

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images that the captions name, with the phrases of Entities."""
        images, captions = cls.locate(data_dir, options, problems.decisions)
        entities = find_entities(data_dir)
        lists = find_lists(entities) if entities is not None else {}
        records = _read_captions(captions, images, problems)
        has_splits = any(record.split is not None for record in records)
        if options.splits == "entities" and not lists:
            raise UserError(
                f"{entities or data_dir} has no train.txt, val.txt and test.txt of Flickr30k "
                "Entities; leave --data.splits entities out"
            )
        if options.splits == "entities" or (options.splits == "auto" and not has_splits and lists):
            names = read_lists(lists, problems.notes)
            records = assign_splits(records, names, problems)
            problems.decisions.append("splits are those of Flickr30k Entities, not Karpathy's")
        elif not has_splits and options.splits == "auto":
            problems.decisions.append(
                f"{captions.name} names no splits, and there is no {KARPATHY_FILE} and no "
                "Flickr30k Entities, so that metrics are not comparable with published ones"
            )
        if entities is not None:
            records = with_entities(records, entities, problems)
        return records


def _read_captions(captions: AnyPath, images: AnyPath, problems: Problems) -> list[Record]:
    if captions.suffix.lower() == ".json":
        return read_karpathy(captions, images, problems.notes)
    return table_records(read_table(captions, problems), images)
