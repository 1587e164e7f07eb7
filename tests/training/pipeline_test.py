"""Batches: every example once an epoch, in an order of the seed, the same after a restart."""

import numpy as np
import tensorflow as tf

from visem_tf.regions.extractor import Regions
from visem_tf.text import END_ID, PAD_ID, START_ID, with_start_and_end
from visem_tf.training.pipeline import (
    alignment_examples,
    caption_examples,
    epoch_batches,
    ordered_batches,
)


class FakeCache:
    """Regions that carry the number of their picture."""

    num_regions, feature_dim = 3, 2

    def gather(self, pictures):
        features = np.broadcast_to(np.asarray(pictures, "f4")[:, None, None], (len(pictures), 3, 2))
        mask = np.ones((len(pictures), 3), bool)
        return Regions(features, None, None, mask)


def epochs_of(**arguments):
    batches = [batch.tolist() for batch in epoch_batches(10, 4, **arguments).as_numpy_iterator()]
    return [batches[start : start + 3] for start in range(0, len(batches), 3)]


def test_every_epoch_has_every_example_in_another_order():
    epochs = epochs_of(seed=5, first_epoch=0, epochs=3)
    assert len(epochs) == 3
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [4, 4, 2]
        assert sorted(n for batch in epoch for n in batch) == list(range(10))
    assert epochs[0] != epochs[1]


def test_order_depends_on_the_seed_and_the_epoch_alone():
    whole = epochs_of(seed=5, first_epoch=0, epochs=4)
    assert epochs_of(seed=5, first_epoch=2, epochs=4) == whole[2:]
    assert epochs_of(seed=6, first_epoch=0, epochs=4) != whole


def test_alignment_examples_pair_sentences_with_their_pictures():
    token_ids = tf.ragged.constant([[4], [5, 6], [7, 8, 9]], tf.int32)
    image_index = np.array([1, 0, 1])
    [example] = alignment_examples(ordered_batches(3, 5), FakeCache(), token_ids, image_index)
    np.testing.assert_array_equal(example["region_features"][:, 0, 0], image_index)
    np.testing.assert_array_equal(example["image_ids"], image_index)
    np.testing.assert_array_equal(example["token_ids"], [[4, 0, 0], [5, 6, 0], [7, 8, 9]])
    assert example["region_features"].shape == (3, 3, 2)
    assert example["region_mask"].dtype == tf.bool


def test_caption_examples_have_start_and_end():
    token_ids = tf.ragged.constant([[4], [5, 6]], tf.int32)
    vectors = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    examples = caption_examples(ordered_batches(2, 2), lambda rows: vectors[rows], 2, token_ids)
    [example] = examples
    np.testing.assert_array_equal(example["image_features"], vectors)
    expected = [[START_ID, 4, END_ID, PAD_ID], [START_ID, 5, 6, END_ID]]
    np.testing.assert_array_equal(example["token_ids"], expected)


def test_an_empty_row_is_start_and_end():
    rows = with_start_and_end(tf.ragged.constant([[], [4]], tf.int32))
    assert rows.to_list() == [[START_ID, END_ID], [START_ID, 4, END_ID]]
