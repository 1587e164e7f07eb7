import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.models.sentence_encoder import SentenceEncoder

VOCABULARY, EMBEDDING, HIDDEN, WORD = 12, 5, 6, 4


def relu(x):
    return np.maximum(x, 0)


@pytest.fixture(scope="module")
def encoder():
    """An encoder with random weights everywhere, biases too."""
    encoder = SentenceEncoder(VOCABULARY, EMBEDDING, HIDDEN, WORD)
    encoder(np.ones([1, 1], np.int32))
    random = np.random.default_rng(0)
    encoder.set_weights([random.normal(0, 0.5, weight.shape) for weight in encoder.weights])
    return encoder


@pytest.fixture(scope="module")
def encode(encoder):
    """The encoder as one graph for all shapes."""
    return tf.function(encoder, input_signature=[tf.TensorSpec([None, None], tf.int32)])


def recurrence_word_by_word(e, forward_kernel, forward_bias, backward_kernel, backward_bias):
    """hf_t + hb_t of one sentence e [T, H], as the paper writes it."""
    forward, backward = np.zeros_like(e), np.zeros_like(e)
    h = np.zeros(e.shape[1])
    for t in range(len(e)):
        h = forward[t] = relu(e[t] + h @ forward_kernel + forward_bias)
    h = np.zeros(e.shape[1])
    for t in reversed(range(len(e))):
        h = backward[t] = relu(e[t] + h @ backward_kernel + backward_bias)
    return forward + backward


def embeddings_word_by_word(encoder, token_ids):
    """s_t of every word of one sentence, in float64, from the equations of the paper."""
    double = {
        weight.path.split("/", 1)[1]: weight.numpy().astype(float) for weight in encoder.weights
    }
    e = [
        relu(
            double["word_vectors/embeddings"][token] @ double["word_projection/kernel"]
            + double["word_projection/bias"]
        )
        for token in token_ids
    ]
    h = recurrence_word_by_word(
        np.reshape(e, (len(token_ids), HIDDEN)),
        double["forward_kernel"],
        double["forward_bias"],
        double["backward_kernel"],
        double["backward_bias"],
    )
    return relu(h @ double["output_projection/kernel"] + double["output_projection/bias"])


def random_sentences(random, count, longest):
    token_ids = random.integers(4, VOCABULARY, (count, longest), np.int32)
    lengths = random.integers(0, longest + 1, count)
    token_ids[np.arange(longest) >= lengths[:, np.newaxis]] = 0
    return token_ids, lengths


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 7))
def test_equals_the_paper_word_by_word(encoder, encode, seed, count, longest):
    token_ids, lengths = random_sentences(np.random.default_rng(seed), count, longest)
    embeddings = encode(tf.constant(token_ids)).numpy()
    assert embeddings.shape == (count, longest, EMBEDDING)
    for row, tokens, length in zip(embeddings, token_ids, lengths, strict=True):
        expected = embeddings_word_by_word(encoder, tokens[:length])
        np.testing.assert_allclose(row[:length], expected, rtol=1e-4, atol=1e-4)
        assert not row[length:].any()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_more_padding_and_other_neighbours_change_nothing(encode, seed, more):
    token_ids, _ = random_sentences(np.random.default_rng(seed), 4, 6)
    embeddings = encode(token_ids).numpy()
    padded = encode(np.pad(token_ids, [(0, 0), (0, more)])).numpy()
    np.testing.assert_allclose(padded[:, :6], embeddings, atol=1e-5)
    assert not padded[:, 6:].any()
    for row in range(4):
        alone = encode(token_ids[row : row + 1]).numpy()
        np.testing.assert_allclose(alone[0], embeddings[row], atol=1e-5)


def test_gradient_reaches_every_weight_and_is_the_same_in_graph(encoder):
    token_ids = tf.constant([[4, 5, 6, 0], [7, 8, 0, 0], [9, 10, 11, 5]])

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(encoder(token_ids) ** 2)
        return tape.gradient(loss, encoder.trainable_variables)

    np.testing.assert_allclose(encoder(token_ids), tf.function(encoder)(token_ids), atol=1e-5)
    pairs = zip(gradients(), tf.function(gradients)(), strict=True)
    for eager, graph in pairs:
        eager, graph = tf.convert_to_tensor(eager), tf.convert_to_tensor(graph)
        assert np.abs(eager).max() > 0
        np.testing.assert_allclose(eager, graph, rtol=1e-4, atol=1e-4)


def test_dropout_falls_around_the_recurrences_and_not_inside(monkeypatch):
    encoder = SentenceEncoder(VOCABULARY, EMBEDDING, HIDDEN, WORD, dropout=0.5, dropout_hidden=0.5)
    token_ids = tf.constant([[4, 5, 6, 7, 8, 9]])
    encoder(token_ids)
    seen = {}
    for name in ("word_dropout", "projection_dropout", "context_dropout"):
        layer = getattr(encoder, name)

        def call(inputs, training=False, name=name, original=layer.call):
            seen[name] = inputs, original(inputs, training=training)
            return seen[name][1]

        monkeypatch.setattr(layer, "call", call)
    embeddings = encoder(token_ids, training=True)
    for before, after in seen.values():  # kept values are doubled
        assert np.isin(after, [0.0, *(2 * before.numpy().ravel())]).all()
        assert not np.array_equal(before, after)
    vectors = encoder.word_vectors.embeddings.numpy()[token_ids[0]]
    np.testing.assert_array_equal(seen["word_dropout"][0], vectors)
    recurrent = ("forward_kernel", "forward_bias", "backward_kernel", "backward_bias")
    expected = recurrence_word_by_word(
        seen["projection_dropout"][1].numpy(), *(getattr(encoder, n).numpy() for n in recurrent)
    )
    np.testing.assert_allclose(seen["context_dropout"][0], expected, atol=1e-5)
    dropped = seen["context_dropout"][1].numpy()
    np.testing.assert_allclose(embeddings[0], encoder.output_projection(dropped), atol=1e-6)


def test_a_saved_encoder_gives_the_same_embeddings(tmp_path):
    inputs = keras.Input([None], dtype="int32")
    model = keras.Model(inputs, SentenceEncoder(VOCABULARY, EMBEDDING, HIDDEN, WORD, 0.3)(inputs))
    model.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    token_ids = np.array([[4, 5, 6], [7, 0, 0]])
    np.testing.assert_array_equal(model(token_ids), loaded(token_ids))
    assert loaded.layers[1].get_config() == model.layers[1].get_config()


def test_an_exported_encoder_takes_any_shape(encoder, tmp_path):
    module = tf.Module()
    module.weights = [weight.value for weight in encoder.weights]
    module.encode = tf.function(
        lambda token_ids: encoder(token_ids), [tf.TensorSpec([None, None], tf.int32)]
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for count, longest in ((3, 6), (1, 1), (2, 0)):
        token_ids, _ = random_sentences(np.random.default_rng(count), count, longest)
        token_ids = tf.constant(token_ids)
        np.testing.assert_allclose(loaded.encode(token_ids), encoder(token_ids), atol=1e-6)


def test_word_vectors_are_loaded_and_can_be_kept_fixed():
    encoder = SentenceEncoder(VOCABULARY, EMBEDDING, HIDDEN, WORD, train_words=False)
    matrix = np.random.default_rng(0).normal(size=(VOCABULARY, WORD)).astype(np.float32)
    encoder.load_word_vectors(matrix)
    np.testing.assert_array_equal(encoder.word_vectors.embeddings, matrix)
    trainable = {weight.path for weight in encoder.trainable_weights}
    assert encoder.word_vectors.embeddings.path not in trainable
    with pytest.raises(ValueError, match="matrix must have shape"):
        encoder.load_word_vectors(matrix[:-1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocabulary_size", 0),
        ("embedding_dim", -1),
        ("hidden_dim", 0),
        ("word_dim", 0),
        ("dropout", 1.5),
        ("dropout_hidden", -0.5),
    ],
)
def test_arguments_are_checked(name, value):
    arguments = {"vocabulary_size": 9, "embedding_dim": 4, "hidden_dim": 4, name: value}
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        SentenceEncoder(**arguments)
