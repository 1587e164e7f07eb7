"""The policy gradient against the exact one, by enumeration of all sentences."""

import itertools
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.training.self_critical import SelfCriticalModel

PAD, START, END, UNK = 0, 1, 2, 3
V, F, R, LENGTH = 6, 4, 3, 2
WORDS = (4, 5)


def make_generator(kind):
    keras.utils.set_random_seed(2)
    options = {"hidden_dim": 5, "word_dim": 4, "clip_value": None, "dropout": 0.5}
    if kind == "attention":
        generator = AttentionGenerator(V, cell="lstm", **options)
    else:
        generator = CaptionGenerator(V, **options)
    generator.build({"region_features": (None, None, F), "image_features": (None, F)})
    bias = generator.output_projection.bias
    bias.assign([-50.0, -50.0, 0.3, -50.0, 0.1, -0.2])  # PAD, START and UNK are never sampled
    return generator


def make_images(count, samples):
    rng = np.random.default_rng(1)
    return {
        "random": rng.random([count, samples * LENGTH], np.float32),
        "region_features": rng.normal(size=[count, R, F]).astype(np.float32),
        "region_mask": np.ones([count, R], bool),
        "image_ids": np.arange(count, dtype=np.int32),
    }


def worth(token_ids, image_ids):
    """A score that depends on the words and the image."""
    return np.sin(token_ids @ np.array([3.0, 1.0]) + image_ids)


def exact_gradient(generator, data, temperature):
    """The gradient of minus the expected reward, by enumeration of all sentences."""
    sentences = [(END, PAD), *((word, END) for word in WORDS)]
    sentences += list(itertools.product(WORDS, repeat=2))
    token_ids = np.array(sentences, np.int32)
    names = ("region_features", "region_mask", "image_ids")
    features, mask, image_ids = (np.repeat(data[name], len(sentences), axis=0) for name in names)
    inputs = generator.inputs_of_images(features, mask)
    starts = np.full([len(sentences), 1], START, np.int32)
    batch = generator.batch_of(inputs, np.concatenate([starts, token_ids], axis=1))
    rewards = worth(token_ids, image_ids).astype(np.float32)
    with tf.GradientTape() as tape:
        logits, targets, _ = generator.logits_of_targets(batch, training=False)
        log_probs = tf.gather(tf.nn.log_softmax(logits / temperature), targets.ids, batch_dims=1)
        rows = tf.where(tf.transpose(token_ids) != PAD)[:, 1]
        of_sentences = tf.math.unsorted_segment_sum(log_probs, rows, len(sentences))
        loss = -tf.reduce_sum(tf.exp(of_sentences) * rewards)
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(of_sentences)), 1, rtol=1e-4)
    lengths = np.count_nonzero(token_ids, axis=1)
    words = float(tf.reduce_sum(tf.exp(of_sentences) * lengths.astype(np.float32)))
    values = [variable.value for variable in generator.trainable_variables]
    gradients = tape.gradient(loss, values, unconnected_gradients="zero")
    return [tf.convert_to_tensor(gradient).numpy() / words for gradient in gradients]


@pytest.mark.parametrize(
    ("kind", "temperature"),
    [("mrnn", 1.0), ("mrnn", 0.5), pytest.param("attention", 0.5, marks=pytest.mark.slow)],
)
def test_a_step_follows_the_gradient_of_the_expected_reward(kind, temperature):
    generator, data = make_generator(kind), make_images(1, 200_000)
    expected = exact_gradient(generator, data, temperature)
    model = SelfCriticalModel(generator, worth, 200_000, LENGTH, temperature)
    model.compile(optimizer=keras.optimizers.SGD(1.0))
    before = [variable.numpy() for variable in generator.trainable_variables]
    model.train_step(data)
    scale = max(np.abs(gradient).max() for gradient in expected)
    for old, new, gradient in zip(before, generator.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(old - new.numpy(), gradient, atol=0.04 * scale)
    assert scale > 0.01


def test_the_baseline_of_one_sample_is_the_greedy_sentence():
    generator, data = make_generator("mrnn"), make_images(4, 1)
    seen = []

    def reward(token_ids, image_ids):
        seen.append((token_ids, image_ids))
        return worth(token_ids, image_ids)

    model = SelfCriticalModel(generator, reward, samples=1, max_length=LENGTH)
    inputs = generator.inputs_of_images(data["region_features"], data["region_mask"])
    _, advantages, rewards = model.sample(inputs, tf.constant(data["image_ids"]), data["random"])
    (sampled, _), (greedy, image_ids) = seen
    np.testing.assert_array_equal(image_ids, data["image_ids"])
    assert (sampled != greedy).any()
    np.testing.assert_allclose(rewards, worth(sampled, image_ids), rtol=1e-6)
    np.testing.assert_allclose(
        advantages, worth(sampled, image_ids) - worth(greedy, image_ids), atol=1e-6
    )


def test_the_baseline_of_several_samples_is_the_mean_of_the_others():
    generator, data = make_generator("mrnn"), make_images(3, 4)
    model = SelfCriticalModel(generator, worth, samples=4, max_length=LENGTH)
    inputs = generator.inputs_of_images(data["region_features"], data["region_mask"])
    token_ids, advantages, _ = model.sample(inputs, tf.constant(data["image_ids"]), data["random"])
    rewards = worth(token_ids.numpy(), np.repeat(data["image_ids"], 4)).reshape(3, 4)
    for image, sample in np.ndindex(3, 4):
        others = np.delete(rewards[image], sample).mean()
        advantage = advantages[4 * image + sample]
        np.testing.assert_allclose(advantage, rewards[image, sample] - others, atol=1e-5)


@pytest.mark.slow
def test_rewards_rise_and_the_generator_is_what_is_saved(tmp_path):
    generator, data = make_generator("attention"), make_images(3, 8)
    model = SelfCriticalModel(generator, worth, samples=8, max_length=LENGTH)
    model.compile(optimizer=keras.optimizers.Adam(0.02))
    random = np.random.default_rng(2).random([40, 3, 8 * LENGTH], np.float32)
    dataset = tf.data.Dataset.from_tensor_slices(random).map(lambda each: {**data, "random": each})
    rewards = model.fit(dataset, epochs=3, verbose=0).history["reward"]
    best = max(
        worth(np.array([sentence]), 0)[0]
        for sentence in [(2, 0), (4, 2), (5, 2), *itertools.product(WORDS, repeat=2)]
    )
    assert rewards[-1] > rewards[0] + 0.1
    assert rewards[-1] > 0.7 * best
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert isinstance(loaded, AttentionGenerator)
    batch = generator.batch_of(
        {name: data[name] for name in ("region_features", "region_mask")},
        tf.constant([[START, 4, END]] * 3),
    )
    np.testing.assert_array_equal(loaded(batch), generator(batch))


ONE_OR_TWO_REPLICAS = """
import keras, numpy as np
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.training.self_critical import SelfCriticalModel

rng = np.random.default_rng(0)
data = {
    "region_features": rng.normal(size=[11, 2, 5]).astype(np.float32),
    "region_mask": np.ones([11, 2], bool),
    "image_ids": np.arange(11, dtype=np.int32),
    "random": rng.random([11, SAMPLES * 6], np.float32),
}

def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = SelfCriticalModel(
            CaptionGenerator(9, 8, 6, clip_value=0.05, dropout=0.5),
            lambda token_ids, image_ids: np.sin(token_ids.sum(axis=1) + image_ids),
            samples=SAMPLES,
            max_length=6,
        )
        model.generator.build({"image_features": (None, 5)})
        model.compile(
            optimizer=keras.optimizers.Adam(0.02), run_eagerly=strategy.num_replicas_in_sync == 1
        )
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(5)  # 5, 5 and 1 images
    history = model.fit(dataset, epochs=3, verbose=0).history
    return [variable.numpy() for variable in model.trainable_variables], history

(one, history), (two, of_two) = train(tf.distribute.get_strategy()), train(strategy)
assert len(set(history["reward"])) == 3
for name in ("loss", "reward"):
    np.testing.assert_allclose(of_two[name], history[name], rtol=1e-4, atol=1e-6)
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one(run_on_two_devices):
    source = "for SAMPLES in (1, 3):\n" + textwrap.indent(ONE_OR_TWO_REPLICAS, "    ")
    assert run_on_two_devices(source) == "same\nsame\n"
