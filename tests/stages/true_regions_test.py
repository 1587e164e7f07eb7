"""Features of true boxes, in whatever batches and blocks they are extracted."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.regions.extractor import Regions
from visem_tf.stages import true_regions
from visem_tf.stages.true_regions import TrueRegions, box_features


class Split:
    """Three images whose only pixel value is their position; sentences 0, 1 are of image 0."""

    image_ids = ("a", "b", "c")
    image_index = np.array([0, 0, 2])

    def pictures(self):
        return tf.data.Dataset.range(3)


@pytest.fixture
def boxes_only(monkeypatch):
    """Replaces the CNN: the features of a region are its image and its box."""

    def extract(pixels, boxes):
        count = 1 + max(map(len, boxes))
        features = np.full([len(boxes), count, 5], np.nan, np.float32)
        mask = np.arange(count) < 1 + np.array([[len(of_image)] for of_image in boxes])
        for row, of_image in enumerate(boxes):
            features[row, 1 : 1 + len(of_image), 0] = pixels[row]
            features[row, 1 : 1 + len(of_image), 1:] = of_image
        return Regions(features, None, None, mask)

    monkeypatch.setattr(true_regions, "RegionExtractor", lambda *arguments: None)
    monkeypatch.setattr(true_regions, "BoxExtractor", lambda extractor: extract)
    monkeypatch.setattr(
        true_regions, "prepared_batches", lambda images, settings: images.batch(settings.batch_size)
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("counts", [(2, 0, 3), (25, 1, 41), (0, 0, 1)])
def test_every_box_gets_its_own_features(boxes_only, batch_size, counts):
    image = np.repeat(np.arange(3), counts)
    boxes = np.random.default_rng(0).uniform(size=(len(image), 4)).astype(np.float32)
    regions = TrueRegions([str(n) for n in range(len(image))], image, boxes, {})
    config = Config().updated({"regions.batch_size": batch_size})
    found = box_features(Split(), regions, config)
    np.testing.assert_array_equal(found, np.hstack([image[:, np.newaxis], boxes]))


def test_phrases_are_grouped_by_object_with_the_first_box():
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    phrases = Phrases(
        sentence_index=np.array([2, 0, 1]),
        first=np.zeros(3, int),
        last=np.zeros(3, int),
        boxes=boxes,
        object=np.array([5, 1, 1]),
        text=["a cat", "a dog", "the dog"],
        type=["", "animals", ""],
    )
    found = true_regions.true_regions(Split(), phrases)
    assert found.keys == ["a:1", "c:5"]
    assert found.image.tolist() == [0, 2]
    np.testing.assert_array_equal(found.boxes, boxes[[1, 0]])
    assert found.phrases == {"a:1": ["a dog", "the dog"], "c:5": ["a cat"]}
