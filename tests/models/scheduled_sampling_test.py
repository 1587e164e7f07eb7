"""A model's own words among people's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.scheduled_sampling import ScheduledSampling

PAD, START, END, UNK = 0, 1, 2, 3
V = 8


def make_sentences(count=400, longest=6):
    rng = np.random.default_rng(0)
    token_ids = np.zeros([count, longest + 2], np.int32)
    for row in token_ids:
        length = rng.integers(1, longest + 1)
        row[: length + 2] = [START, *rng.integers(4, 6, length), END]  # 6 and 7 are nobody's
    return token_ids


def mixed(rate, step=0, ramp_steps=0):
    """Words before and after, where the model would say 7, or END in every third sentence."""
    token_ids = make_sentences().T
    words, ids = token_ids[:-1], token_ids[1:]
    places = tf.where(ids != PAD)
    logits = np.full([len(places), V], -20.0, np.float32)
    ends = places.numpy()[:, 1] % 3 == 0
    logits[ends, END] = logits[~ends, 7] = 0.0
    logits[:, [PAD, START, UNK]] = 50.0  # never said all the same
    keras.utils.set_random_seed(1)
    layer = ScheduledSampling(rate, ramp_steps)
    return words, layer(tf.constant(words), places, tf.constant(logits), tf.constant(step)).numpy()


def test_words_become_what_the_model_would_say_in_their_place():
    words, after = mixed(0.4)
    changed = after != words
    assert (after[changed] == 7).all()
    people = (words != PAD) & (words != START) & (words != END)
    assert not changed[np.isin(words, [START, PAD])].any()  # after END nothing is asked for
    assert not changed[:, ::3].any()  # the model would end there
    rest = np.delete(changed, np.s_[::3], axis=1)[np.delete(people, np.s_[::3], axis=1)]
    assert abs(rest.mean() - 0.4) < 0.05


def test_the_share_rises_with_the_steps():
    pairs = [mixed(0.8, step, 100) for step in (0, 25, 100, 500)]
    shares = [(after != words).mean() for words, after in pairs]
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1] / shares[2], 0.25, atol=0.05)
    assert shares[2] == shares[3]


def test_a_word_comes_from_the_prediction_in_its_own_place():
    """The logits of the target at t replace the word at t + 1, not another."""
    token_ids = np.array([[START, 4, 4, 4, END]], np.int32).T
    places = tf.where(token_ids[1:] != PAD)
    logits = np.full([4, V], -50.0, np.float32)
    logits[np.arange(4), [5, 6, 7, END]] = 0.0
    layer = ScheduledSampling(0.999)
    after = layer(tf.constant(token_ids[:-1]), places, tf.constant(logits), tf.constant(0))
    assert after.numpy()[:, 0].tolist() == [START, 5, 6, 7]


@pytest.mark.parametrize("kind", ["mrnn", "attention"])
def test_training_reads_the_mixture_and_scores_what_people_said(kind, tmp_path):
    keras.utils.set_random_seed(0)
    options = {"scheduled_sampling": 0.5, "sampling_steps": 0, "word_dropout": 0.1}
    token_ids = make_sentences(12)
    rng = np.random.default_rng(0)
    if kind == "mrnn":
        generator = CaptionGenerator(V, 8, 6, **options)
        batch = {"image_features": rng.normal(size=[12, 4]).astype("f4")}
    else:
        generator = AttentionGenerator(V, 8, 6, cell="lstm", **options)
        batch = {"region_features": rng.normal(size=[12, 3, 4]).astype("f4")}
    batch["token_ids"] = token_ids
    generator.compile(optimizer=keras.optimizers.Adam(0.01))
    step = tf.function(generator.train_step)
    first = float(step(batch)["loss"])
    for _ in range(60):
        generator.reset_metrics()
        last = float(step(batch)["loss"])
    assert last < first - 0.2
    _, targets, _ = generator.logits_of_targets(batch, training=True)
    people = token_ids.T[: targets.words.shape[0]]
    assert (targets.words.numpy() != people).any()
    np.testing.assert_array_equal(
        np.sort(targets.ids), np.sort(token_ids[:, 1:][token_ids[:, 1:] != PAD])
    )
    _, targets, _ = generator.logits_of_targets(batch, training=False)
    np.testing.assert_array_equal(targets.words, people)
    generator.save(tmp_path / "generator.keras")
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    assert loaded.scheduled_sampling == 0.5
    np.testing.assert_array_equal(loaded(batch), generator(batch))


def test_a_bad_rate_is_named():
    with pytest.raises(ValueError, match="scheduled_sampling must be in"):
        CaptionGenerator(5, scheduled_sampling=1.0)
