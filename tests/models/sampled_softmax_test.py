import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.sampled_softmax import SampledSoftmax

V = 30


def arrays(rng):
    hidden = rng.standard_normal((6, 4)).astype(np.float32)
    kernel = rng.standard_normal((4, V)).astype(np.float32)
    bias = rng.standard_normal(V).astype(np.float32)
    ids = np.array([0, 3, 3, 7, 19, V - 1], np.int32)
    return hidden, ids, kernel, bias


def test_it_is_the_likelihood_among_the_drawn_words(monkeypatch):
    hidden, ids, kernel, bias = arrays(np.random.default_rng(0))
    drawn = np.array([0.0, 0.3, 0.5, 0.5, 0.999999], np.float32)
    monkeypatch.setattr(keras.random, "uniform", lambda shape, seed: tf.constant(drawn))
    found = SampledSoftmax(V, 5)(hidden, ids, kernel, bias)
    others = np.floor(np.exp(drawn * np.log(V + 1))).astype(int) - 1
    assert others[0] == 0 and others[-1] == V - 1

    def logit(row, word):
        return hidden[row] @ kernel[:, word] + bias[word]

    def times(word):
        return 5 * (np.log(word + 2) - np.log(word + 1)) / np.log(V + 1)

    for row, word in enumerate(ids):
        right = logit(row, word)
        wrong = [logit(row, other) - np.log(times(other)) for other in others if other != word]
        expected = np.log(np.exp([right, *wrong]).sum()) - right
        assert float(found[row]) == pytest.approx(expected, rel=1e-4)


def test_many_drawn_words_give_the_full_softmax():
    hidden, ids, kernel, bias = arrays(np.random.default_rng(1))
    layer = SampledSoftmax(V, V - 1)
    layer.sampled_words = 100_000
    with tf.GradientTape(persistent=True) as tape:
        weights = tf.constant(kernel)
        tape.watch(weights)
        sampled = tf.reduce_sum(layer(hidden, ids, weights, bias))
        logits = hidden @ weights + bias
        full = tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids, logits=logits)
        )
    assert float(sampled) == pytest.approx(float(full), rel=0.02)
    np.testing.assert_allclose(
        tape.gradient(sampled, weights), tape.gradient(full, weights), atol=0.05
    )


def test_a_generator_learns_with_few_words_and_is_judged_with_all():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    words = np.array([[1, *rng.integers(4, V, 5), 2] for _ in range(4)], np.int32)
    batch = {"image_features": np.eye(4, dtype="float32"), "token_ids": words}
    batch = {name: tf.constant(value) for name, value in batch.items()}
    model = CaptionGenerator(V, 16, 8, sampled_words=8)
    model.compile(optimizer=keras.optimizers.Adam(0.02))
    model(batch)
    step = tf.function(model.train_step)
    for _ in range(150):
        step(batch)
    surprise = -float(tf.reduce_mean(model.log_likelihood(batch)))
    assert surprise < 0.3
    model.reset_metrics()
    assert float(model.test_step(batch)["loss"]) == pytest.approx(surprise, rel=1e-4)
    again = CaptionGenerator.from_config(model.get_config())
    assert again.sampled_words == 8


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="below vocabulary_size 30, got 30"):
        SampledSoftmax(V, 30)
    with pytest.raises(ValueError, match="label_smoothing must be 0"):
        CaptionGenerator(V, sampled_words=8, label_smoothing=0.1)
