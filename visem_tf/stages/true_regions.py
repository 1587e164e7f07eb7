"""Regions whose boxes and phrases are known: their CNN features and what people call them."""

import itertools
from typing import NamedTuple

import numpy as np

from visem_tf.config import Config
from visem_tf.datasets.caption_dataset import Phrases, Split
from visem_tf.regions.extractor import (
    PRETRAINED,
    RegionExtractor,
    RegionWeights,
    prepared_batches,
)
from visem_tf.regions.given_boxes import BoxExtractor

_BOXES_AT_A_TIME = 20


class TrueRegions(NamedTuple):
    """O objects whose boxes are known, ordered by image.

    Attributes:
        keys: O unique names.
        image: Position of the image of every object, int [O], ascending.
        boxes: Boxes, float32 [O, 4], `rel_yxyx`.
        phrases: Phrases of an object by its key.
    """

    keys: list[str]
    image: np.ndarray
    boxes: np.ndarray
    phrases: dict[str, list[str]]


def true_regions(split: Split, phrases: Phrases) -> TrueRegions:
    """Groups phrases by their objects; the box of the first phrase counts."""
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
    split: Split, regions: TrueRegions, config: Config, weights: RegionWeights = PRETRAINED
) -> np.ndarray:
    """Extracts the CNN features of true regions.

    Args:
        split: Split, whose images are read once.
        regions: Regions of this split.
        config: Configuration of the run.
        weights: Weights that the run has trained.

    Returns:
        Features, float32 [O, F].
    """
    settings = config.regions
    extract = BoxExtractor(RegionExtractor(settings.updated({"proposer": "none"}), weights))
    bounds = np.searchsorted(regions.image, np.arange(len(split.image_ids) + 1))
    features, rows, start = [], [], 0
    for pixels in prepared_batches(split.pictures(), settings):
        own = bounds[start : start + len(pixels) + 1]
        boxes = [regions.boxes[first:last] for first, last in itertools.pairwise(own)]
        # In blocks, so that images with hundreds of boxes do not need much memory.
        for block in range(0, max(map(len, boxes)), _BOXES_AT_A_TIME):
            some = [of_image[block : block + _BOXES_AT_A_TIME] for of_image in boxes]
            found = extract(pixels, some)
            image, place = np.nonzero(found.region_mask[:, 1:])
            features.append(found.region_features[image, 1 + place])
            rows.append(own[image] + block + place)
        start += len(pixels)
    return np.concatenate(features)[np.argsort(np.concatenate(rows))]
