"""Examples from TensorFlow Datasets' `coco_captions`, which has Karpathy's splits."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from visem_tf.datasets.collecting import without_empty_sentences
from visem_tf.datasets.folder_builder import make_example
from visem_tf.datasets.phrases import phrases_of_objects
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, tokens_of_records
from visem_tf.images.decode import read_image
from visem_tf.images.read import ImageError
from visem_tf.runtime.storage import as_path

SPLITS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}
"""The splits of `coco_captions` that form each of our splits."""

_EXAMPLES_AT_A_TIME = 256


def generate_examples(
    split: str, data_dir: str | None, download_dir: Any, problems: Problems
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the examples of a split, in our schema.

    Args:
        split: "train", "val" or "test".
        data_dir: Folder of TensorFlow Datasets; None takes its default.
        download_dir: Folder for what it downloads.
        problems: Receives what is wrong.
    """
    builder = tfds.builder("coco_captions", data_dir=data_dir)
    if not builder.is_prepared():
        builder.download_and_prepare(download_dir=download_dir)
    categories = builder.info.features["objects"].feature["label"].names or []
    for part in SPLITS[split]:
        examples = iter(
            builder.as_dataset(
                split=part, shuffle_files=False, decoders={"image": tfds.decode.SkipDecoding()}
            ).as_numpy_iterator()
        )
        while batch := list(itertools.islice(examples, _EXAMPLES_AT_A_TIME)):
            yield from _converted(split, batch, categories, problems)


def _converted(
    split: str, batch: list[dict[str, Any]], categories: list[str], problems: Problems
) -> Iterator[tuple[str, dict[str, Any]]]:
    records = [
        Record(
            str(int(example["image/id"])),
            as_path(example["image/filename"].decode()),
            [text.decode() for text in example["captions"]["text"].tolist()],
        )
        for example in batch
    ]
    records = without_empty_sentences(records, problems.notes)
    for example, record, tokens in zip(batch, records, tokens_of_records(records), strict=True):
        name = record.file_name
        try:
            image = read_image(example["image"], name)
        except ImageError as error:
            problems.skipped.append(f"{split}: {error}")
            continue
        if not tokens:
            problems.skipped.append(f"{split}: {name}: no sentences")
            continue
        objects = example["objects"]
        labels = objects["label"].tolist()
        crowds = {n for n, is_crowd in zip(labels, objects["is_crowd"], strict=True) if is_crowd}
        boxes = [
            (categories[label], tuple(box.tolist()))
            for label, box in zip(labels, objects["bbox"], strict=True)
            if label not in crowds
        ]
        phrases = [
            dataclasses.replace(phrase, in_pixels=False)
            for phrase in phrases_of_objects(tokens, boxes)
        ]
        record = dataclasses.replace(record, phrases=phrases)
        yield name, make_example(record, image, problems.notes)
