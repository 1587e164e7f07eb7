"""Batches: every example once an epoch, in an order that depends on the seed and the epoch."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.regions.extractor import Regions
from visem_tf.text import END_ID, PAD_ID, START_ID, with_start_and_end
from visem_tf.training.pipeline import (
    WHOLE,
    Pairs,
    Part,
    Swaps,
    alignment_draws,
    alignment_examples,
    attention_examples,
    caption_examples,
    epoch_batches,
    ordered_batches,
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


def epochs_of(**arguments):
    batches = [batch.tolist() for batch in epoch_batches(10, 4, **arguments).as_numpy_iterator()]
    return [batches[start : start + 3] for start in range(0, len(batches), 3)]


def test_every_epoch_has_every_example_in_another_order():
    epochs = epochs_of(seed=5, epochs=3)
    assert len(epochs) == 3
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [4, 4, 2]
        assert sorted(n for batch in epoch for n in batch) == list(range(10))
    assert epochs[0] != epochs[1]


def test_order_depends_on_the_seed_and_the_epoch_alone():
    whole = epochs_of(seed=5, epochs=4)
    assert epochs_of(seed=5, part=Part(epoch=2), epochs=4) == whole[2:]
    assert epochs_of(seed=6, epochs=4) != whole


def test_an_interrupted_epoch_goes_on_with_its_next_batch():
    whole = [batch for epoch in epochs_of(seed=5, epochs=4) for batch in epoch]
    rest = epoch_batches(10, 4, seed=5, epochs=4, part=Part(epoch=1, step=2))
    assert [batch.tolist() for batch in rest.as_numpy_iterator()] == whole[3 + 2 :]


@pytest.mark.parametrize(("replicas", "workers"), [(2, 1), (2, 2), (4, 2), (5, 1)])
def test_replicas_share_every_batch_without_loss_or_repetition(replicas, workers):
    local = replicas // workers
    whole = [batch for epoch in epochs_of(seed=5, epochs=2) for batch in epoch]
    joined = [[] for _ in whole]
    for worker in range(workers):
        part = Part(replica=worker * local, local_replicas=local, replicas=replicas)
        shares = list(epoch_batches(10, 4, seed=5, epochs=2, part=part).as_numpy_iterator())
        assert len(shares) == len(whole) * local
        for number, share in enumerate(shares):
            joined[number // local] += share.tolist()
            size = len(whole[number // local])
            assert size // replicas <= len(share) <= -(-size // replicas)
    assert joined == whole


def random_numbers(part=WHOLE, seed=5):
    batches = epoch_batches(10, 4, seed=seed, epochs=2, part=part, draws=3)
    return list(batches.as_numpy_iterator())


def test_random_numbers_depend_on_the_seed_the_epoch_and_the_place_alone():
    whole = random_numbers()
    positions = [batch["positions"].tolist() for batch in whole]
    assert positions == [batch for epoch in epochs_of(seed=5, epochs=2) for batch in epoch]
    drawn = np.concatenate([batch["random"] for batch in whole])
    assert drawn.shape == (20, 3)
    assert len(np.unique(drawn)) == 60
    assert (drawn >= 0).all() and (drawn < 1).all()
    for one, other in zip(random_numbers(Part(epoch=1, step=1)), whole[4:], strict=True):
        np.testing.assert_array_equal(one["random"], other["random"])
    assert not np.isin(random_numbers(seed=6)[0]["random"], drawn).any()
    for replica in range(2):
        part = Part(replica=replica, replicas=2)
        for share, batch in zip(random_numbers(part), whole, strict=True):
            size = len(batch["random"]) // 2
            rows = slice(replica * size, (replica + 1) * size)
            np.testing.assert_array_equal(share["random"], batch["random"][rows])
            np.testing.assert_array_equal(share["positions"], batch["positions"][rows])


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


def test_an_empty_row_is_start_and_end():
    rows = with_start_and_end(tf.ragged.constant([[], [4]], tf.int32))
    assert rows.to_list() == [[START_ID, END_ID], [START_ID, 4, END_ID]]


LENGTHS = np.random.default_rng(0).integers(1, 20, 43)


def bucketed(**arguments):
    batches = epoch_batches(
        43, 4, **{"seed": 5, "epochs": 1, "lengths": LENGTHS, "bucket_batches": 5, **arguments}
    )
    return [batch.tolist() for batch in batches.as_numpy_iterator()]


def test_batches_of_similar_length_cover_whole_epochs_in_different_orders():
    epochs = bucketed(epochs=2)
    first, second = epochs[:11], epochs[11:]
    for epoch in (first, second):
        assert [len(batch) for batch in epoch] == [4] * 10 + [3]
        assert sorted(n for batch in epoch for n in batch) == list(range(43))
    assert first != second
    rest = bucketed(epochs=2, part=Part(epoch=1, step=3))
    assert rest == second[3:]


def test_batches_of_similar_length_have_less_padding_and_are_not_sorted():
    def spread(batches):
        return sum(np.ptp(LENGTHS[batch]) for batch in batches)

    assert spread(bucketed()) < spread(bucketed(bucket_batches=0)) / 2
    longest = [max(LENGTHS[batch]) for batch in bucketed()[:5]]
    assert longest != sorted(longest)


def test_a_bucket_has_the_examples_of_neighbouring_batches():
    mixed = bucketed(bucket_batches=1)
    found = bucketed()
    for start in (0, 5):
        examples = {n for batch in mixed[start : start + 5] for n in batch}
        assert examples == {n for batch in found[start : start + 5] for n in batch}
    assert found[-1] == mixed[-1]


def test_buckets_need_lengths():
    with pytest.raises(ValueError, match="lengths must be given"):
        bucketed(lengths=None)


def test_pipelines_of_trainings_are_not_tuned():
    """An iterator of a dataset that is tuned can take a minute to be deleted."""
    token_ids = tf.ragged.constant([[4], [5]], dtype=tf.int32)
    pairs = Pairs(FakeCache(), token_ids, np.array([0, 1]))
    examples = alignment_examples(ordered_batches(2, 1), pairs)
    later = examples.map(lambda batch: batch["token_ids"]).prefetch(2)
    assert examples.options().autotune.enabled is False
    assert later.options().autotune.enabled is False
