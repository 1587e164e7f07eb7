"""Examples from TensorFlow Datasets' `coco_captions`, which has Karpathy's splits."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from visem_tf.datasets.phrases import phrase_rows, phrases_of_objects
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Phrase, Record, safe_image_id, tokenized
from visem_tf.images.decode import ImageError, read_image
from visem_tf.runtime.storage import as_path

SPLITS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}
"""Which splits of `coco_captions` make up ours."""

_EXAMPLES_AT_A_TIME = 256


def generate_examples(
    split: str, data_dir: str | None, download_dir: Any, problems: Problems
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the examples of a split, in our schema.

    Args:
        split: "train", "val" or "test".
        data_dir: the folder of TensorFlow Datasets; None takes its usual one.
        download_dir: where it keeps what it fetches.
        problems: receives what is wrong.
    """
    builder = tfds.builder("coco_captions", data_dir=data_dir)
    if not builder.is_prepared():
        builder.download_and_prepare(download_dir=download_dir)
    names = builder.info.features["objects"].feature["label"].names or []
    for part in SPLITS[split]:
        examples = iter(
            builder.as_dataset(
                split=part,
                shuffle_files=False,
                decoders={"image": tfds.decode.SkipDecoding()},
            ).as_numpy_iterator()
        )
        while batch := list(itertools.islice(examples, _EXAMPLES_AT_A_TIME)):
            yield from _converted(split, batch, names, problems)


def _converted(
    split: str, batch: list[dict[str, Any]], names: list[str], problems: Problems
) -> Iterator[tuple[str, dict[str, Any]]]:
    sentences = [
        [text.decode() for text in example["captions"]["text"].tolist()] for example in batch
    ]
    tokens = iter(tokenized([sentence for of_picture in sentences for sentence in of_picture]))
    for example, of_picture in zip(batch, sentences, strict=True):
        file_name = example["image/filename"].decode()
        words = [next(tokens) for _ in of_picture]
        try:
            image = read_image(example["image"], file_name)
        except ImageError as error:
            problems.skipped.append(f"{split}: {error}")
            continue
        kept = [number for number, found in enumerate(words) if found]
        if not kept:
            problems.skipped.append(f"{split}: {file_name}: no sentences")
            continue
        if len(kept) < len(words):
            problems.notes.append(f"dropped sentences without words: some of {file_name}")
        objects = example["objects"]
        boxes = [
            (names[label], tuple(box.tolist()))
            for label, box, crowd in zip(
                objects["label"].tolist(), objects["bbox"], objects["is_crowd"], strict=True
            )
            if not crowd
        ]
        found = phrases_of_objects([words[number] for number in kept], boxes)
        record = Record(
            safe_image_id(str(int(example["image/id"]))),
            as_path(file_name),
            [of_picture[number] for number in kept],
            tuple(_relative(phrase) for phrase in found),
            file_name=file_name,
        )
        yield (
            file_name,
            {
                "image_id": record.image_id,
                "file_name": file_name,
                "image": image,
                "sentences": list(record.sentences),
                "phrases": phrase_rows(record, image, problems.notes),
            },
        )


def _relative(phrase: Phrase) -> Phrase:
    return dataclasses.replace(phrase, in_pixels=False)
