"""Several models that write one sentence together."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding import EnsembleModel, beam_search, greedy_search
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator

PICTURES = np.array([[0.0], [1.0], [2.0]], np.float32)


class _Plain:
    """A table model that says what it reads of a picture."""

    reads_regions = False

    def __init__(self, model):
        self.initial_state, self.step, self.table = model.initial_state, model.step, model.table


def test_probabilities_are_averaged(table_model):
    one, two = table_model(seed=1), table_model(seed=2)
    mean = table_model(seed=3)
    mean.table = np.log((np.exp(one.table) + np.exp(two.table)) / 2)
    ensemble = EnsembleModel([_Plain(one), _Plain(two)])
    for found, expected in (
        (beam_search(ensemble, PICTURES, 4, 5), beam_search(mean, PICTURES, 4, 5)),
        (greedy_search(ensemble, PICTURES, 5), greedy_search(mean, PICTURES, 5)),
    ):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def test_a_model_with_itself_is_itself(table_model):
    model = table_model()
    ensemble = EnsembleModel([_Plain(model)] * 3)
    found, expected = beam_search(ensemble, PICTURES, 3, 4), beam_search(model, PICTURES, 3, 4)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def test_generators_that_read_a_picture_differently():
    keras.utils.set_random_seed(0)
    members = [CaptionGenerator(9, 6, 5), AttentionGenerator(9, 4, 5, cell="gru")]
    members[0].build({"image_features": (None, 4)})
    members[1].build({"region_features": (None, None, 4)})
    ensemble = EnsembleModel(members)
    rng = np.random.default_rng(0)
    features, mask = rng.normal(size=[2, 3, 4]).astype("f4"), np.ones([2, 3], bool)
    inputs = ensemble.inputs_of_images(features, mask)
    assert ensemble.reads_regions
    search = tf.function(
        lambda inputs: beam_search(ensemble, inputs, 3, 6), input_signature=[ensemble.input_specs()]
    )
    token_ids, log_probs = search(tf.nest.map_structure(tf.constant, inputs))
    for picture in range(2):  # the best sentence has the score that both give to it together
        words = [word for word in token_ids[picture, 0].numpy().tolist() if word]
        states = [
            members[0].initial_state(features[picture : picture + 1, 0]),
            members[1].initial_state({"region_features": features[picture : picture + 1]}),
        ]
        total, last = 0.0, [1]
        for word in words:
            given = []
            for number, member in enumerate(members):
                of_words, states[number] = member.step(tf.constant(last), states[number])
                given.append(np.exp(of_words[0, word]))
            total, last = total + np.log(np.mean(given)), [word]
        np.testing.assert_allclose(log_probs[picture, 0], total, atol=1e-5)


def test_an_ensemble_needs_a_member():
    with pytest.raises(ValueError, match="at least one model"):
        EnsembleModel([])
