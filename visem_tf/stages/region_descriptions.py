"""Region descriptions against people's: the paper's last table, where boxes have phrases.

Every object whose box is known is described by the region-level generator and, as the paper's
baseline, by the full-frame generator on the crop. The references of an object are all phrases that
speak of it.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.datasets.loading import Phrases, Split
from visem_tf.metrics.captions import caption_scores
from visem_tf.models.sentence_generator import SentenceGenerator
from visem_tf.regions.extractor import FRAME, RegionExtractor, prepare_picture
from visem_tf.stages.captioning import Describer
from visem_tf.text import Vocabulary

_BLEU = ("bleu1", "bleu2", "bleu3", "bleu4")


def region_description_scores(
    generators: dict[str, SentenceGenerator | None],
    split: Split,
    vocabulary: Vocabulary,
    config: Config,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Scores the descriptions of true boxes.

    Args:
      generators: "regions" and "full_frame"; one that was not trained is None.
      split: Has phrases.
      vocabulary: The generators' words.
      config: Of the run.

    Returns:
      "bleu1" … "bleu4" of the region-level model, the same of the other under
      "full_frame_on_crop", and the number of "described_boxes"; scores of a model that was not
      trained are None. Notes about them.
    """
    assert split.phrases is not None
    keys, boxes, references = _objects(split, split.phrases)
    features = _features(split, boxes, config)
    figures: dict[str, Any] = {"described_boxes": len(keys)}
    notes: dict[str, str] = {}
    for name, generator in generators.items():
        scores: dict[str, Any] = dict.fromkeys(_BLEU)
        if generator is None:
            notes[f"bleu.{name}"] = "this generator was not trained"
        else:
            search = Describer(generator, vocabulary, config.generate, config.evaluate.beam_size)
            texts, _ = search(features)
            said = dict(zip(keys, texts, strict=True))
            found, remarks = caption_scores(references, said, with_meteor=False)
            scores = {score: found[score] for score in _BLEU}
            notes.update({f"bleu.{name}.{about}": text for about, text in remarks.items()})
        if name == "regions":
            figures.update(scores)
        else:
            figures[f"{name}_on_crop"] = scores
    return figures, notes


def _objects(
    split: Split, phrases: Phrases
) -> tuple[list[str], list[np.ndarray], dict[str, list[str]]]:
    """Objects by a key, in the order of the pictures; their boxes by picture; their phrases."""
    found: dict[tuple[int, int], tuple[np.ndarray, list[str]]] = {}
    images = split.image_index[phrases.sentence_index]
    for row, text in enumerate(phrases.text):
        place = (int(images[row]), int(phrases.object[row]))
        found.setdefault(place, (phrases.boxes[row], []))[1].append(text)
    order = sorted(found)
    keys = [f"{split.image_ids[image]}:{number}" for image, number in order]
    boxes = [
        np.array([found[place][0] for place in order if place[0] == image]).reshape(-1, 4)
        for image in range(len(split.image_ids))
    ]
    references = {key: found[place][1] for key, place in zip(keys, order, strict=True)}
    return keys, boxes, references


def _features(split: Split, boxes: list[np.ndarray], config: Config) -> np.ndarray:
    """CNN vectors of the boxes of all pictures, float32 [sum of boxes, F]."""
    extractor = RegionExtractor(config.regions.updated({"proposer": "none"}))
    size, most = config.regions.picture_size, max(len(of_picture) for of_picture in boxes)
    padded = np.zeros([len(boxes), most + 1, 4], np.float32)
    padded[:] = FRAME
    for row, of_picture in enumerate(boxes):
        padded[row, 1 : len(of_picture) + 1] = of_picture
    pictures = (
        split.pictures()
        .map(lambda encoded: prepare_picture(encoded, size), num_parallel_calls=tf.data.AUTOTUNE)
        .batch(config.regions.batch_size)
        .prefetch(2)
    )
    describe = tf.function(
        extractor.describe_boxes,
        input_signature=[
            tf.TensorSpec([None, size, size, 3]),
            tf.TensorSpec([None, most + 1, 4]),
        ],
    )
    parts, start = [], 0
    for pixels in pictures:
        stop = start + len(pixels)
        features = describe(pixels, tf.constant(padded[start:stop])).numpy()
        for row in range(start, stop):
            parts.append(features[row - start, 1 : len(boxes[row]) + 1])
        start = stop
    return np.concatenate(parts)
