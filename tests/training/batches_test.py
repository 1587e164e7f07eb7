"""Batches: every example once an epoch, in an order that depends on the seed and the epoch."""

import numpy as np
import pytest

from visem_tf.training.batches import WHOLE, Part, epoch_batches


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
