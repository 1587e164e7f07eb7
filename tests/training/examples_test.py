"""Examples of trainings: words with the regions of their images, or of the mirror images."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.regions.extractor import Regions
from visem_tf.text import END_ID, PAD_ID, START_ID, with_start_and_end
from visem_tf.training.batches import epoch_batches, ordered_batches
from visem_tf.training.examples import (
    Pairs,
    Swaps,
    alignment_draws,
    alignment_examples,
    attention_examples,
    caption_examples,
    choose_sentences,
    images_with_sentences,
)


class FakeCache:
    """A feature cache of two images whose features are the position of the image plus a number."""

    num_regions, feature_dim = 3, 2

    def __init__(self, plus=0):
        self.plus = plus

    def __len__(self):
        return 2

    def gather(self, pictures):
        values = np.asarray(pictures, "f4")[:, None, None] + self.plus
        features = np.broadcast_to(values, (len(pictures), 3, 2))
        mask = np.ones((len(pictures), 3), bool)
        return Regions(features, mask, mask, mask)


def test_alignment_examples_have_false_sentences():
    token_ids = tf.ragged.constant([[4], [5, 6], [3, 3, 3]], tf.int32)
    substitutes = np.zeros([9, 2], np.int32)
    substitutes[4], substitutes[6] = [7, 8], [8, 0]
    image_words = tf.ragged.constant([[5, 6], [4, 8]], tf.int32)
    batches = epoch_batches(3, 3, seed=0, epochs=1, draws=4)
    swaps = Swaps(substitutes, image_words, per_pair=2)
    assert swaps.draws == 4
    image_index = np.array([1, 0, 1])
    [example] = alignment_examples(batches, Pairs(FakeCache(), token_ids, image_index), swaps)
    expected = {0: [7, 0, 0], 1: [5, 8, 0], 2: [0, 0, 0]}  # 8 is a word of image 1
    assert example["swapped_ids"].shape == (3, 2, 3)
    rows = (example["sentence_ids"].numpy(), example["swapped_ids"].numpy())
    for position, swapped in zip(*rows, strict=True):
        assert swapped.tolist() == [expected[position]] * 2


def test_a_share_without_rows_has_start_and_end():
    token_ids = tf.ragged.constant([[4], [5, 6]], tf.int32)
    empty = tf.data.Dataset.from_tensors(tf.zeros([0], tf.int32))
    vectors = np.zeros([2, 3], np.float32)
    [example] = caption_examples(empty, lambda rows: vectors[rows], 3, token_ids)
    assert example["token_ids"].shape == (0, 2)
    assert example["image_features"].shape == (0, 3)


def test_alignment_examples_pair_sentences_with_their_images():
    token_ids = tf.ragged.constant([[4], [5, 6], [7, 8, 9]], tf.int32)
    image_index = np.array([1, 0, 1])
    pairs = Pairs(FakeCache(), token_ids, image_index)
    [example] = alignment_examples(ordered_batches(3, 5), pairs)
    np.testing.assert_array_equal(example["region_features"][:, 0, 0], image_index)
    np.testing.assert_array_equal(example["image_ids"], image_index)
    np.testing.assert_array_equal(example["token_ids"], [[4, 0, 0], [5, 6, 0], [7, 8, 9]])
    assert example["region_features"].shape == (3, 3, 2)
    assert example["region_mask"].dtype == tf.bool


def test_a_pair_takes_the_image_or_its_mirror():
    token_ids = tf.ragged.constant([[4]] * 40, tf.int32)
    image_index, mirrored = np.arange(40) % 2, FakeCache(plus=10)
    draws = alignment_draws(None, mirrored)
    batches = epoch_batches(40, 40, seed=0, epochs=2, draws=draws)
    pairs = Pairs(FakeCache(), token_ids, image_index)
    examples = list(alignment_examples(batches, pairs, mirrored=mirrored))
    turned = []
    for example in examples:
        image, value = example["image_ids"].numpy(), example["region_features"][:, 0, 0].numpy()
        assert set(value - image) == {0, 10}  # views of the right image
        order = np.argsort(example["sentence_ids"])
        turned.append((value > 5)[order])
        assert 10 < turned[-1].sum() < 30
    assert np.any(turned[0] != turned[1])  # another view in another epoch


@pytest.mark.parametrize("reads_regions", [True, False])
def test_a_sentence_takes_the_image_or_its_mirror(reads_regions):
    token_ids = tf.ragged.constant([[n + 4] for n in range(40)], dtype=tf.int32)
    image_index, mirrored = np.arange(40) % 2, FakeCache(plus=10)
    batches = epoch_batches(40, 8, seed=1, epochs=2, draws=1)
    if reads_regions:
        pairs = Pairs(FakeCache(), token_ids, image_index)
        examples, name = attention_examples(batches, pairs, mirrored), "region_features"
    else:
        vectors = np.array([[n % 2 + 10 * (n >= 40)] * 2 for n in range(80)], np.float32)
        examples, name = (
            caption_examples(batches, lambda rows: vectors[rows], 2, token_ids, mirrored=True),
            "image_features",
        )
    flips = []
    for batch in examples:
        sentences = batch["token_ids"][:, 1].numpy() - 4
        shown = batch[name].numpy().reshape(len(sentences), -1)[:, 0]
        np.testing.assert_array_equal(shown % 10, image_index[sentences])
        flips += zip(sentences, shown >= 10, strict=True)
    assert 20 < sum(flip for _, flip in flips) < 60
    assert dict(flips[:40]) != dict(flips[40:])  # other ones in the second epoch


def test_caption_examples_have_start_and_end():
    token_ids = tf.ragged.constant([[4], [5, 6]], tf.int32)
    vectors = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    examples = caption_examples(ordered_batches(2, 2), lambda rows: vectors[rows], 2, token_ids)
    [example] = examples
    np.testing.assert_array_equal(example["image_features"], vectors)
    expected = [[START_ID, 4, END_ID, PAD_ID], [START_ID, 5, 6, END_ID]]
    np.testing.assert_array_equal(example["token_ids"], expected)


def test_pipelines_of_trainings_are_not_tuned():
    """An iterator of a dataset that is tuned can take a minute to be deleted."""
    token_ids = tf.ragged.constant([[4], [5]], dtype=tf.int32)
    pairs = Pairs(FakeCache(), token_ids, np.array([0, 1]))
    examples = alignment_examples(ordered_batches(2, 1), pairs)
    later = examples.map(lambda batch: batch["token_ids"]).prefetch(2)
    assert examples.options().autotune.enabled is False
    assert later.options().autotune.enabled is False


def test_an_empty_row_is_start_and_end():
    rows = with_start_and_end(tf.ragged.constant([[], [4]], tf.int32))
    assert rows.to_list() == [[START_ID, END_ID], [START_ID, 4, END_ID]]


def test_sentences_of_an_image_follow_each_other_in_a_circle():
    first, counts = tf.constant([0, 7, 9]), tf.constant([5, 2, 1])
    chosen = choose_sentences(first, counts, tf.constant([0.79, 0.5, 0.99]), 3)
    assert chosen.numpy().tolist() == [[3, 4, 0], [8, 7, 8], [9, 9, 9]]


def test_images_come_with_some_of_their_sentences():
    token_ids = tf.ragged.constant([[4], [5, 6], [7], [8, 9]], tf.int32)
    owners = np.array([0, 0, 0, 1])
    batches = epoch_batches(2, 2, seed=0, epochs=8, draws=2)
    mirrored = FakeCache(plus=10)
    seen = set()
    for example in images_with_sentences(
        batches, Pairs(FakeCache(), token_ids, owners), 2, mirrored
    ):
        images = example["image_ids"].numpy()
        np.testing.assert_array_equal(example["sentence_images"], np.repeat(images, 2))
        owner = {4: 0, 5: 0, 7: 0, 8: 1}  # by the first word
        assert [owner[word] for word in example["token_ids"][:, 0].numpy()] == np.repeat(
            images, 2
        ).tolist()
        views = example["region_features"][:, 0, 0].numpy() - images
        assert set(views) <= {0, 10}
        assert {"region_mask", "boxes", "scores"} < set(example)
        seen |= set(zip(images.tolist(), views.tolist(), strict=True))
    assert len(seen) == 4  # both images, both ways
