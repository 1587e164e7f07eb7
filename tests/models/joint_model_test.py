import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.segments import find_segments
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.joint_model import JointModel, cut_snippets
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder

VOCABULARY, DIM, FEATURES, WORD, SENTENCES, LONGEST = 20, 12, 9, 10, 8, 5


def make_model(sentences=1.0, snippets=1.0, attention=True):
    keras.utils.set_random_seed(3)
    alignment = AlignmentModel(
        RegionEncoder(DIM, region_context="frame"),
        SentenceEncoder(VOCABULARY, DIM, 8, word_dim=WORD),
    )
    alignment.build({"region_features": (None, 4, FEATURES), "token_ids": (None, None)})
    shared = {
        "region_encoder": alignment.region_encoder,
        "word_vectors": alignment.sentence_encoder.word_vectors,
    }
    kind = AttentionGenerator if attention else CaptionGenerator
    full_frame = kind(VOCABULARY, 8, WORD, **shared)
    regions = CaptionGenerator(VOCABULARY, 8, WORD, **shared)
    for generator in (full_frame, regions):
        generator.build(
            {"region_features": (None, 4, FEATURES), "image_features": (None, FEATURES)}
        )
    generators = {"full_frame": full_frame, "regions": regions}
    weights = {"full_frame": sentences, "regions": snippets}
    return JointModel(alignment, generators, weights, SENTENCES, LONGEST)


def make_batch(seed=0):
    random = np.random.default_rng(seed)
    token_ids = random.integers(4, VOCABULARY, (6, LONGEST), np.int32)
    lengths = np.array([5, 1, 3, 4, 5, 2])
    token_ids[np.arange(LONGEST) >= lengths[:, None]] = 0
    return {
        "region_features": random.normal(size=(6, 4, FEATURES)).astype(np.float32),
        "region_mask": np.arange(4) < random.integers(1, 5, (6, 1)),
        "token_ids": token_ids,
        "image_ids": np.array([7, 8, 7, 9, 10, 11], np.int32),
        "sentence_ids": np.array([3, 0, 7, 2, 5, 1], np.int32),
    }


def alignment_of(batch, seed=1):
    """Some region for every word of the training split, where it is known."""
    random = np.random.default_rng(seed)
    regions = np.full((SENTENCES, LONGEST), -1, np.int32)
    words = batch["token_ids"] != 0
    regions[batch["sentence_ids"]] = np.where(words, random.integers(0, 2, words.shape), -1)
    return regions


def loss_of_words(generator, features, sentences):
    """The mean negative log-likelihood of a word, sentence by sentence."""
    likelihoods = []
    for row, words in zip(features, sentences, strict=True):
        token_ids = np.array([[1, *words, 2]], np.int32)
        name = "region_features" if row.ndim == 2 else "image_features"
        inputs = {name: row[None], "token_ids": token_ids}
        likelihoods.append(generator.log_likelihood(inputs))
    return -tf.reduce_mean(tf.concat(likelihoods, axis=0))


@pytest.mark.parametrize("attention", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_step_follows_the_gradient_of_the_sum_of_three(attention):
    model, batch = make_model(0.7, 0.3, attention), make_batch()
    model.alignment.clip_value = None
    del batch["region_mask"]
    regions = alignment_of(batch)
    model.set_regions(regions)
    model.compile(optimizer=keras.optimizers.SGD(1.0), run_eagerly=True)
    words = [row[row != 0].tolist() for row in batch["token_ids"]]
    sentence, first, last, region = find_segments(regions[batch["sentence_ids"]])
    snippets = [words[s][a : b + 1] for s, a, b in zip(sentence, first, last, strict=True)]
    of_snippets = batch["region_features"][sentence, region]
    full_frame, of_regions = model.generators["full_frame"], model.generators["regions"]
    pictures = batch["region_features"] if attention else batch["region_features"][:, 0]

    def objective():
        pairs, _ = model.alignment.global_loss(batch, training=False)
        return (
            pairs / 6
            + 0.7 * loss_of_words(full_frame, pictures, words)
            + 0.3 * loss_of_words(of_regions, of_snippets, snippets)
        )

    variables = model.trainable_variables
    random = np.random.default_rng(2)
    for variable in variables:  # biases of 0 would stand on the kink of the ReLU
        variable.assign_add(random.normal(0, 0.05, variable.shape))
    with tf.GradientTape() as tape:
        whole = objective()
    expected = tape.gradient(whole, [variable.value for variable in variables])
    before = [variable.numpy() for variable in variables]
    model.train_on_batch(batch)
    for old, variable, gradient in zip(before, variables, expected, strict=True):
        step = old - variable.numpy()
        np.testing.assert_allclose(step, tf.convert_to_tensor(gradient), rtol=1e-3, atol=1e-5)
        assert np.abs(step).max() > 0, variable.path


@pytest.mark.slow
def test_without_weight_the_alignment_is_trained_as_alone():
    model, batch = make_model(0.0, 0.0), make_batch()
    model.set_regions(alignment_of(batch))
    model.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    alone = make_model().alignment
    alone.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    del batch["region_mask"]
    model.train_on_batch(batch)
    alone.train_on_batch(batch)
    for one, other in zip(model.alignment.variables, alone.variables, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_parts_stay_one_and_are_saved_whole(tmp_path):
    model, batch = make_model(), make_batch()
    model.set_regions(alignment_of(batch))
    model.compile(optimizer="adam", run_eagerly=True)
    encoder = model.alignment.region_encoder
    before = encoder.projection.kernel.numpy()
    for _ in range(3):
        logs = model.train_on_batch(batch, return_dict=True)
    assert set(logs) == {
        "loss",
        "score_spread",
        "collapsed",
        "perplexity_full_frame",
        "perplexity_regions",
    }
    assert (encoder.projection.kernel.numpy() != before).all()
    inputs = {name: batch[name] for name in ("region_features", "region_mask", "token_ids")}
    for name, generator in model.generators.items():
        generator.save(tmp_path / f"{name}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras", compile=False)
        given = inputs if name == "full_frame" else {**inputs, "image_features": before[:6, :9]}
        given.setdefault("image_features", batch["region_features"][:, 1])
        np.testing.assert_allclose(loaded(given), generator(given), atol=1e-6)
        np.testing.assert_array_equal(
            loaded.region_encoder.projection.kernel, encoder.projection.kernel
        )
        vectors = model.alignment.sentence_encoder.word_vectors.embeddings
        np.testing.assert_array_equal(loaded.word_vectors.embeddings, vectors)


@pytest.mark.slow
def test_without_an_alignment_there_are_no_snippets():
    model, batch = make_model(), make_batch()
    model.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    before = model.generators["regions"].recurrence.kernel.numpy()
    model.train_on_batch(batch)
    np.testing.assert_array_equal(model.generators["regions"].recurrence.kernel, before)
    model.set_regions(alignment_of(batch))
    model.train_on_batch(batch)
    assert (model.generators["regions"].recurrence.kernel.numpy() != before).any()


def test_snippets_are_the_runs_that_the_mrf_is_cut_into():
    random = np.random.default_rng(0)
    regions = random.integers(0, 3, (20, 7)).astype(np.int32)
    regions[np.arange(7) >= random.integers(0, 8, (20, 1))] = -1
    regions[random.random((20, 7)) < 0.2] = -1  # words outside of snippets
    token_ids = random.integers(4, 99, (20, 7)).astype(np.int32)
    rows, chosen, words = cut_snippets(tf.constant(token_ids), tf.constant(regions))
    sentence, first, last, region = find_segments(regions)
    np.testing.assert_array_equal(rows, sentence)
    np.testing.assert_array_equal(chosen, region)
    expected = [
        token_ids[s, a : b + 1].tolist() for s, a, b in zip(sentence, first, last, strict=True)
    ]
    assert words.to_list() == expected


def test_generators_must_share_the_layers():
    model = make_model()
    other = CaptionGenerator(VOCABULARY, 8, WORD)
    with pytest.raises(
        ValueError, match="generator regions must share the layers of the alignment"
    ):
        JointModel(model.alignment, {"regions": other}, {"regions": 1.0}, 8, 5)
    with pytest.raises(ValueError, match=r"weights must be of \['regions'\], not \[\]"):
        JointModel(model.alignment, {"regions": other}, {}, 8, 5)


ONE_OR_TWO_REPLICAS = """
import sys
import keras, numpy as np
sys.path.insert(0, ROOT)
from tests_joint import make_model, SENTENCES, LONGEST

random = np.random.default_rng(0)
size = 8  # batches of 5 and 3
token_ids = random.integers(4, 20, (size, LONGEST), np.int32)
token_ids[np.arange(LONGEST) >= random.integers(1, LONGEST + 1, (size, 1))] = 0
data = {
    "region_features": random.normal(size=(size, 4, 9)).astype(np.float32),
    "region_mask": np.ones((size, 4), bool),
    "token_ids": token_ids,
    "image_ids": np.array([0, 1, 2, 0, 4, 5, 6, 7], np.int32),
    "sentence_ids": np.arange(size, dtype=np.int32),
}
regions = np.where(token_ids != 0, random.integers(0, 2, token_ids.shape), -1)

def train(strategy):
    with strategy.scope():
        model = make_model(0.7, 0.3)
        model.compile(
            optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
            run_eagerly=strategy.num_replicas_in_sync == 1,
        )
    model.set_regions(regions)
    history = model.fit(tf.data.Dataset.from_tensor_slices(data).batch(5), epochs=2, verbose=0)
    return [weight.numpy() for weight in model.weights], history.history

(one, history), (two, of_two) = train(tf.distribute.get_strategy()), train(strategy)
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
for name in history:
    np.testing.assert_allclose(history[name], of_two[name], rtol=1e-4)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one(run_on_two_devices, tmp_path):
    shutil.copy(__file__, tmp_path / "tests_joint.py")  # for its `make_model`
    source = f"ROOT = {str(tmp_path)!r}\n" + ONE_OR_TWO_REPLICAS
    assert "same" in run_on_two_devices(source)
