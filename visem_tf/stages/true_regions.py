"""Regions whose boxes and phrases are known: what to describe, and what people say of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.datasets.caption_dataset import Phrases, Split
from visem_tf.regions.extractor import FRAME, RegionExtractor, prepare_picture

_BOXES_AT_A_TIME = 20


class TrueRegions(NamedTuple):
    """O objects whose boxes are known, picture after picture.

    Attributes:
      keys: O names, unique.
      image: int [O], the picture of every object.
      boxes: float32 [O, 4], `rel_yxyx`.
      phrases: all that people say of an object, by its key.
    """

    keys: list[str]
    image: np.ndarray
    boxes: np.ndarray
    phrases: dict[str, list[str]]


def true_regions(split: Split, phrases: Phrases) -> TrueRegions:
    """Gathers phrases by the objects that they speak of; an object has one box, its first."""
    found: dict[tuple[int, int], tuple[np.ndarray, list[str]]] = {}
    images = split.image_index[phrases.sentence_index]
    for row, text in enumerate(phrases.text):
        place = (int(images[row]), int(phrases.object[row]))
        found.setdefault(place, (phrases.boxes[row], []))[1].append(text)
    order = sorted(found)
    keys = [f"{split.image_ids[image]}:{number}" for image, number in order]
    return TrueRegions(
        keys,
        np.array([image for image, _ in order], np.int64),
        np.array([found[place][0] for place in order], np.float32).reshape(-1, 4),
        {key: found[place][1] for key, place in zip(keys, order, strict=True)},
    )


def box_features(
    split: Split, regions: TrueRegions, config: Config, tuned: Path | None = None
) -> np.ndarray:
    """CNN vectors of true regions, float32 [O, F].

    Args:
      split: Its pictures are read once.
      regions: Of this split.
      config: Of the run.
      tuned: The file of the run's own CNN, if it has trained one.
    """
    extractor = RegionExtractor(config.regions.updated({"proposer": "none"}), tuned)
    size, images = config.regions.picture_size, len(split.image_ids)
    count = np.bincount(regions.image, minlength=images)
    column = np.arange(len(regions.image)) - (np.cumsum(count) - count)[regions.image]
    # Frame and boxes in blocks of one width, so that pictures with hundreds of boxes take no more.
    width = min(int(count.max()), _BOXES_AT_A_TIME)
    block, place = column // width, 1 + column % width
    padded = np.zeros([images, int(block.max()) + 1, 1 + width, 4], np.float32)
    padded[:] = FRAME
    padded[regions.image, block, place] = regions.boxes
    pictures = (
        split.pictures()
        .map(
            lambda encoded: prepare_picture(encoded, size, config.regions.resolution),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(config.regions.batch_size)
        .prefetch(2)
    )
    describe = tf.function(
        extractor.describe_boxes,
        input_signature=[
            tf.TensorSpec([None, size, size, 3]),
            tf.TensorSpec([None, 1 + width, 4]),
        ],
    )
    found = np.zeros([0, 0], np.float32)
    start = 0
    for pixels in pictures:
        stop = start + len(pixels)
        for number in range(-(-int(count[start:stop].max()) // width)):
            features = describe(pixels, tf.constant(padded[start:stop, number])).numpy()
            if not len(found):
                found = np.zeros([len(regions.image), features.shape[2]], np.float32)
            mine = (regions.image >= start) & (regions.image < stop) & (block == number)
            found[mine] = features[regions.image[mine] - start, place[mine]]
        start = stop
    return found
