"""The attention generator against a step-by-step NumPy version written from the paper."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding import beam_search, greedy_search
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.region_encoder import RegionEncoder

PAD, START, END, UNK = 0, 1, 2, 3
V, H, E, F, R = 8, 6, 5, 4, 3


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def make_generator(cell="lstm", encoder=False, **options):
    keras.utils.set_random_seed(1)
    generator = AttentionGenerator(
        V, H, E, cell=cell, region_encoder=RegionEncoder(7) if encoder else None, **options
    )
    generator.build({"region_features": (None, None, F)})
    rng = np.random.default_rng(3)
    for weight in generator.weights:
        if "seed" not in weight.path:
            weight.assign(rng.normal(scale=0.6, size=weight.shape))
    return generator


def make_batch(lengths=(3, 1, 5), seed=0, regions=(3, 1, 2)):
    rng = np.random.default_rng(seed)
    token_ids = np.zeros([len(lengths), 2 + max(lengths)], np.int32)
    for row, length in enumerate(lengths):
        token_ids[row, : length + 2] = [START, *rng.integers(3, V, length), END]
    return {
        "region_features": rng.normal(size=[len(lengths), R, F]).astype(np.float32),
        "region_mask": np.arange(R) < np.array(regions)[:, np.newaxis],
        "token_ids": token_ids,
    }


def dense(layer, x):
    kernel = layer.kernel.numpy().astype(np.float64)
    return x @ kernel + (layer.bias.numpy() if layer.use_bias else 0)


def reference(generator, features, words, frame=None):
    """log y [T, V] and α [T, R] of one sentence, from the equations, in float64."""
    features = features.astype(np.float64)
    frame = features[0] if frame is None else frame.astype(np.float64)
    if generator.region_encoder is not None:
        features = dense(generator.region_encoder.projection, features)
        frame = dense(generator.region_encoder.projection, frame)
    a = np.maximum(0, dense(generator.region_projection, features))
    a_frame = np.maximum(0, dense(generator.region_projection, frame))
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[generator.cell] * H
    kernel, bias = (w.numpy().astype(np.float64) for w in generator.recurrence.weights)
    u, w_q, w_beta = kernel[:, :gates], kernel[:, gates : gates + H], kernel[:, -1]
    b, b_q, b_beta = bias[:gates], bias[gates : gates + H], bias[-1]
    w = generator.energy.kernel.numpy()[:, 0]
    h = np.tanh(dense(generator.hidden_start, a_frame))
    c = np.tanh(dense(generator.memory_start, a_frame)) if generator.cell == "lstm" else None
    rows, looks = [], []
    for word in words:
        x = generator.word_vectors.embeddings.numpy()[word].astype(np.float64)
        e = np.array(
            [w @ np.tanh(dense(generator.key_projection, a_i) + w_q.T @ h + b_q) for a_i in a]
        )
        alpha = np.exp(e) / np.exp(e).sum()
        z = sigmoid(w_beta @ h + b_beta) * (alpha @ a)
        inputs = dense(generator.word_projection, x) + dense(generator.context_projection, z)
        recurrent = h @ u + b
        if generator.cell == "lstm":
            i, f, o, g = np.split(inputs + recurrent, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif generator.cell == "gru":
            keep, reset, new = np.split(inputs, 3)
            keep, reset = sigmoid(keep + recurrent[:H]), sigmoid(reset + recurrent[H : 2 * H])
            h = keep * h + (1 - keep) * np.tanh(new + reset * recurrent[2 * H :])
        else:
            h = np.maximum(0, inputs + recurrent)
        out = h
        if generator.deep_output:
            out = x + dense(generator.hidden_to_word, h) + dense(generator.context_to_word, z)
        y = dense(generator.output_projection, out)
        rows.append(y - np.log(np.exp(y - y.max()).sum()) - y.max())
        looks.append(alpha)
    return np.array(rows), np.array(looks)


KINDS = [
    {"cell": "lstm"},
    {"cell": "gru", "deep_output": True},
    {"cell": "lstm", "encoder": True, "deep_output": True},
    {"cell": "rnn"},
]


@pytest.mark.parametrize("options", KINDS)
def test_logits_weights_and_steps_are_those_of_the_equations(options):
    generator, batch = make_generator(**options), make_batch()
    logits = tf.nn.log_softmax(generator(batch))
    weights = generator.attention(batch).numpy()
    state = generator.initial_state({k: v for k, v in batch.items() if k != "token_ids"})
    steps = []
    for t in range(6):
        log_probs, state = generator.step(batch["token_ids"][:, t], state)
        steps.append(log_probs)
    assert weights.shape == (3, 6, R)
    for row, (length, regions) in enumerate(zip((3, 1, 5), (3, 1, 2), strict=True)):
        words = batch["token_ids"][row, : length + 1]
        expected, looks = reference(generator, batch["region_features"][row, :regions], words)
        np.testing.assert_allclose(logits[row, : length + 1], expected, atol=3e-5)
        np.testing.assert_allclose(np.array(steps)[: length + 1, row], expected, atol=3e-5)
        np.testing.assert_allclose(weights[row, : length + 1, :regions], looks, atol=1e-5)
        assert not weights[row, length + 1 :].any()
        assert not weights[row, :, regions:].any()


def test_likelihoods_come_step_by_step_in_the_order_of_the_batch():
    generator, batch = make_generator(), make_batch((2, 4), regions=(3, 2))
    log_probs = generator.log_likelihood(batch).numpy()
    places = [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3), (1, 4), (1, 5)]
    for got, (row, step) in zip(log_probs, places, strict=True):
        tokens, regions = batch["token_ids"][row], (3, 2)[row]
        expected, _ = reference(generator, batch["region_features"][row, :regions], tokens[:step])
        np.testing.assert_allclose(got, expected[-1, tokens[step]], atol=3e-5)


def test_the_sentence_may_be_of_another_frame():
    generator, batch = make_generator(), make_batch()
    frames = np.random.default_rng(9).normal(size=[3, F]).astype(np.float32)
    log_probs = tf.nn.log_softmax(generator({**batch, "image_features": frames}))
    expected, _ = reference(
        generator, batch["region_features"][0], batch["token_ids"][0, :4], frames[0]
    )
    np.testing.assert_allclose(log_probs[0, :4], expected, atol=3e-5)


def test_padding_changes_nothing_and_regions_may_be_permuted():
    generator, batch = make_generator(), make_batch()
    before = generator.log_likelihood(batch)
    wider = {
        "region_features": np.pad(
            batch["region_features"], [(0, 0), (0, 2), (0, 0)], constant_values=50
        ),
        "region_mask": np.pad(batch["region_mask"], [(0, 0), (0, 2)]),
        "token_ids": np.pad(batch["token_ids"], [(0, 0), (0, 4)]),
    }
    np.testing.assert_allclose(generator.log_likelihood(wider), before, atol=1e-6)
    order = [0, 4, 2, 3, 1]  # the frame stays first
    permuted = {
        **wider,
        "region_features": wider["region_features"][:, order],
        "region_mask": wider["region_mask"][:, order],
    }
    np.testing.assert_allclose(generator.log_likelihood(permuted), before, atol=1e-6)
    np.testing.assert_allclose(
        generator.attention(permuted), generator.attention(wider).numpy()[..., order], atol=1e-6
    )


def test_the_penalty_is_that_of_equation_14():
    batch = make_batch()
    generator = make_generator(doubly_stochastic=0.7)
    plain = make_generator()
    for model in (generator, plain):
        model.compile(optimizer=keras.optimizers.SGD(0.0))
    penalty = 0.0
    for row, (length, regions) in enumerate(zip((3, 1, 5), (3, 1, 2), strict=True)):
        words = batch["token_ids"][row, : length + 1]
        _, looks = reference(plain, batch["region_features"][row, :regions], words)
        penalty += 0.7 * np.sum((1 - looks.sum(axis=0)) ** 2)
    with_penalty, without = generator.train_step(batch), plain.train_step(batch)
    np.testing.assert_allclose(with_penalty["loss"], without["loss"] + penalty / 12, rtol=1e-5)
    assert with_penalty["perplexity"] == without["perplexity"]


@pytest.mark.parametrize(
    ("options", "in_graph"),
    [
        ({"cell": "lstm", "deep_output": True}, False),
        pytest.param({"cell": "gru"}, True, marks=pytest.mark.slow),
    ],
)
def test_gradients(options, in_graph):
    """Central differences in float64, along a random direction of every weight."""
    generator = make_generator(dtype="float64", doubly_stochastic=0.3, **options)
    generator.compile(optimizer=keras.optimizers.SGD(0.0))
    batch = make_batch()
    batch["region_features"] = batch["region_features"].astype(np.float64)

    def loss():
        return generator.loss_shares(batch, training=True)[0]

    def slopes():
        with tf.GradientTape() as tape:
            value = loss()
        values = [variable.value for variable in generator.trainable_variables]
        return [tf.convert_to_tensor(g) for g in tape.gradient(value, values)]

    gradients = tf.function(slopes)() if in_graph else slopes()
    loss = tf.function(loss)  # called twice for each weight
    rng = np.random.default_rng(0)
    for variable, gradient in zip(generator.trainable_variables, gradients, strict=True):
        direction = rng.normal(size=variable.shape)
        start, delta = variable.numpy(), 1e-6
        variable.assign(start + delta * direction)
        above = loss()
        variable.assign(start - delta * direction)
        below = loss()
        variable.assign(start)
        expected = np.sum(gradient.numpy() * direction)
        np.testing.assert_allclose((above - below) / (2 * delta), expected, rtol=2e-4, atol=1e-8)


def test_no_weight_of_a_region_encoder_with_context_is_trained():
    encoder = RegionEncoder(7, region_context="frame")
    generator = AttentionGenerator(V, H, E, region_encoder=encoder)
    generator.build({"region_features": (None, None, F)})
    assert len(encoder.weights) == 3
    assert not encoder.trainable_variables
    assert not any("region_encoder" in one.path for one in generator.trainable_variables)


def test_the_alignment_s_region_encoder_is_not_trained():
    generator, batch = make_generator(encoder=True), make_batch()
    before = generator.region_encoder.projection.kernel.numpy()
    names = [variable.path for variable in generator.trainable_variables]
    assert not any("region_encoder" in name for name in names)
    generator.compile(optimizer=keras.optimizers.SGD(0.5))
    generator.train_step(batch)
    np.testing.assert_array_equal(generator.region_encoder.projection.kernel, before)


def test_beam_search_finds_what_enumeration_finds():
    """Every sentence of a tiny vocabulary, scored by the teacher-forced pass."""
    generator = make_generator(deep_output=True)
    pictures = {k: v for k, v in make_batch().items() if k != "token_ids"}
    words, longest = (4, 5, 6, 7), 3
    finished = [
        (*body, END)
        for length in range(longest)
        for body in itertools.product(words, repeat=length)
    ]
    token_ids = np.zeros([len(finished), 1 + longest], np.int32)
    for row, sentence in enumerate(finished):
        token_ids[row, : 1 + len(sentence)] = [START, *sentence]
    size = len(finished) + len(words) ** longest
    search = tf.function(lambda inputs: beam_search(generator, inputs, size, longest))
    found_ids, found_log_probs = search(pictures)
    for picture in range(3):
        inputs = {
            name: np.repeat(rows[picture : picture + 1], len(finished), axis=0)
            for name, rows in pictures.items()
        }
        log_probs = np.zeros(len(finished))
        targets = token_ids[:, 1:].T != PAD  # likelihoods come step by step
        rows = np.broadcast_to(np.arange(len(finished)), targets.shape)[targets]
        of_words = generator.log_likelihood({**inputs, "token_ids": token_ids})
        np.add.at(log_probs, rows, of_words)
        order = np.argsort(-log_probs)
        np.testing.assert_allclose(
            found_log_probs[picture, : len(finished)], log_probs[order], atol=1e-4
        )
        np.testing.assert_array_equal(found_ids[picture, 0], token_ids[order[0], 1:])


def test_one_beam_is_greedy_and_any_batch_size_decodes():
    generator = make_generator()
    pictures = {k: v for k, v in make_batch().items() if k != "token_ids"}
    traces = []

    @tf.function(input_signature=[generator.input_specs()])
    def search(inputs):
        traces.append(1)
        return *greedy_search(generator, inputs, 6), *beam_search(generator, inputs, 1, 6)

    greedy_ids, greedy, beam_ids, beam = search(pictures)
    np.testing.assert_array_equal(greedy_ids, beam_ids[:, 0])
    np.testing.assert_allclose(greedy, beam[:, 0], atol=1e-5)
    one = search({name: rows[1:2] for name, rows in pictures.items()})
    np.testing.assert_array_equal(one[0][0], greedy_ids[1])
    assert search({name: rows[:0] for name, rows in pictures.items()})[0].shape == (0, 6)
    assert len(traces) == 1


def test_a_vector_is_a_picture_with_one_region():
    generator, batch = make_generator(), make_batch()
    alone = batch["region_features"][:, 0]
    token_ids, log_probs = greedy_search(generator, alone, 5)
    expected = greedy_search(generator, {"region_features": alone[:, np.newaxis]}, 5)
    np.testing.assert_array_equal(token_ids, expected[0])
    np.testing.assert_array_equal(log_probs, expected[1])


@pytest.mark.slow
def test_overfits_a_batch_and_says_it_again():
    keras.utils.set_random_seed(0)
    generator = AttentionGenerator(V, 24, 12, cell="lstm", doubly_stochastic=0.01)
    generator.compile(optimizer=keras.optimizers.Adam(0.01))
    batch = make_batch((3, 1, 5))
    history = generator.fit(tf.data.Dataset.from_tensors(batch).repeat(60), epochs=2, verbose=0)
    assert history.history["perplexity"][-1] < 1.3
    pictures = {k: v for k, v in batch.items() if k != "token_ids"}
    token_ids, _ = greedy_search(generator, pictures, max_length=6, allow_unknown=True)
    np.testing.assert_array_equal(token_ids, batch["token_ids"][:, 1:])


@pytest.mark.parametrize("options", KINDS[1:3])
def test_keras_file_round_trip(options, tmp_path):
    generator = make_generator(
        doubly_stochastic=0.5, word_dropout=0.1, dropout=0.2, feature_scale=3.0, **options
    )
    batch = make_batch()
    generator.save(tmp_path / "generator.keras")
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    configs = [model.get_config() for model in (loaded, generator)]
    encoders = [config.pop("region_encoder") for config in configs]
    assert configs[0] == configs[1]
    if options.get("encoder"):
        assert encoders[0]["config"] == encoders[1]["config"]
    np.testing.assert_array_equal(loaded(batch), generator(batch))
    frozen = [variable.path for variable in loaded.trainable_variables]
    assert len(frozen) == len(generator.trainable_variables)


@pytest.mark.parametrize("rows", [0, 2])
def test_a_batch_without_words(rows):
    generator = make_generator(doubly_stochastic=1.0)
    generator.compile(optimizer=keras.optimizers.SGD(0.1))
    before = [weight.numpy() for weight in generator.weights]
    batch = {
        "region_features": np.ones([rows, R, F], np.float32),
        "region_mask": np.ones([rows, R], bool),
        "token_ids": np.zeros([rows, 4], np.int32),
    }
    assert generator.train_step(batch)["loss"] == 0
    for old, new in zip(before, generator.weights, strict=True):
        np.testing.assert_array_equal(old, new)


REPLICAS = """
import keras, numpy as np
from visem_tf.models.attention_generator import AttentionGenerator

rng = np.random.default_rng(0)
token_ids = np.zeros([7, 9], np.int32)
for row, length in enumerate([7, 6, 1, 1, 5, 1, 4]):
    token_ids[row, : length + 2] = [1, *rng.integers(3, 9, length), 2]
data = {
    "region_features": rng.normal(size=[7, 3, 5]).astype(np.float32),
    "region_mask": np.arange(3) < rng.integers(1, 4, (7, 1)),
    "token_ids": token_ids,
}

def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        generator = AttentionGenerator(
            9, 8, 6, cell="lstm", clip_value=0.05, doubly_stochastic=0.5, label_smoothing=0.1
        )
        generator.compile(
            optimizer=keras.optimizers.SGD(0.5), run_eagerly=strategy.num_replicas_in_sync == 1
        )
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(4)
    history = generator.fit(dataset, epochs=2, verbose=0).history
    return history, [w.numpy() for w in generator.trainable_variables]

one_history, one = train(tf.distribute.get_strategy())
two_history, two = train(strategy)
for name in one_history:
    np.testing.assert_allclose(one_history[name], two_history[name], rtol=1e-5)
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-6)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one(run_on_two_devices):
    assert "same" in run_on_two_devices(REPLICAS)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="doubly_stochastic must be at least 0, not -1"):
        AttentionGenerator(5, doubly_stochastic=-1)
    with pytest.raises(ValueError, match="label_smoothing must be in"):
        AttentionGenerator(5, label_smoothing=1.0)
    with pytest.raises(ValueError, match="word_dropout must be in"):
        AttentionGenerator(5, word_dropout=1.0)
    generator = make_generator()
    with pytest.raises(ValueError, match="inputs must hold 'region_features'"):
        generator.log_likelihood({"token_ids": np.zeros([1, 3], np.int32)})
