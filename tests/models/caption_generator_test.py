"""The multimodal RNN against a step-by-step NumPy version written from the paper."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding import beam_search, greedy_search
from visem_tf.models.caption_generator import CaptionGenerator

PAD, START, END = 0, 1, 2
VOCABULARY, FEATURES = 9, 5


def make_generator(**options):
    keras.utils.set_random_seed(1)
    generator = CaptionGenerator(VOCABULARY, hidden_dim=8, word_dim=6, **options)
    generator.build({"image_features": (None, FEATURES), "token_ids": (None, None)})
    rng = np.random.default_rng(3)
    for weight in generator.trainable_weights:  # biases too
        weight.assign(rng.normal(scale=0.5, size=weight.shape))
    return generator


def make_batch(lengths=(3, 1, 5), seed=0, padding=0):
    """START, `length` words, END, PAD for every sentence."""
    rng = np.random.default_rng(seed)
    token_ids = np.zeros([len(lengths), 2 + max(lengths) + padding], np.int32)
    for row, length in enumerate(lengths):
        words = rng.integers(3, VOCABULARY, length)
        token_ids[row, : length + 2] = [START, *words, END]
    features = rng.normal(size=[len(lengths), FEATURES]).astype(np.float32)
    return {"image_features": features, "token_ids": token_ids}


def paper_log_probs(generator, features, words, picture_at=1):
    """log y_t [T, V] of one sentence, from the equations of section 3, in float64."""
    x = generator.word_vectors.embeddings.numpy().astype(np.float64)
    w_hx = generator.word_projection.kernel.numpy().astype(np.float64)
    w_hi = generator.image_projection.kernel.numpy().astype(np.float64)
    w_hh, b_h = (weight.numpy().astype(np.float64) for weight in generator.recurrence.weights)
    w_oh, b_o = (
        weight.numpy().astype(np.float64) for weight in generator.output_projection.weights
    )
    b_v = features.astype(np.float64) @ w_hi
    h, rows = np.zeros(len(b_h)), []
    for t, word in enumerate(words, start=1):
        h = np.maximum(0, x[word] @ w_hx + h @ w_hh + b_h + (b_v if t == picture_at else 0))
        y = h @ w_oh + b_o
        rows.append(y - np.log(np.exp(y - y.max()).sum()) - y.max())
    return np.array(rows)


def paper_loss(generator, batch):
    """Sum of the negative log-likelihoods of a batch, and the number of targets."""
    total, count = 0.0, 0
    for features, tokens in zip(batch["image_features"], batch["token_ids"], strict=True):
        tokens = tokens[tokens != PAD]
        log_probs = paper_log_probs(generator, features, tokens[:-1])
        total -= log_probs[np.arange(len(tokens) - 1), tokens[1:]].sum()
        count += len(tokens) - 1
    return total, count


def test_logits_are_those_of_the_paper():
    generator, batch = make_generator(), make_batch()
    logits = generator(batch)
    assert logits.dtype == tf.float32
    for row, length in enumerate((3, 1, 5)):
        words = batch["token_ids"][row, : length + 1]
        expected = paper_log_probs(generator, batch["image_features"][row], words)
        got = tf.nn.log_softmax(logits[row, : length + 1])
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_steps_are_those_of_the_paper():
    generator, batch = make_generator(), make_batch((4, 4))
    state = generator.initial_state(batch["image_features"])
    for t in range(5):
        log_probs, state = generator.step(batch["token_ids"][:, t], state)
        for row in range(2):
            expected = paper_log_probs(
                generator, batch["image_features"][row], batch["token_ids"][row, : t + 1]
            )
            np.testing.assert_allclose(log_probs[row], expected[-1], atol=2e-5)


def test_the_picture_enters_at_the_first_step_only():
    """A generator that feeds it later, or at every step, is another function."""
    generator, batch = make_generator(), make_batch((6,))
    # With W_hh = 0 nothing is carried over: the picture is seen at t = 1 and nowhere else.
    generator.recurrence.kernel.assign(np.zeros([8, 8]))
    other = {**batch, "image_features": batch["image_features"] + 1}
    difference = np.abs(generator(batch) - generator(other)).max(axis=(0, 2))
    assert difference[0] > 0.1
    np.testing.assert_array_equal(difference[1:], 0)

    changes = []
    for features in (batch["image_features"], other["image_features"]):
        state, rows = generator.initial_state(features), []
        for t in range(6):
            log_probs, state = generator.step(batch["token_ids"][:, t], state)
            rows.append(log_probs)
        changes.append(np.array(rows))
    difference = np.abs(changes[0] - changes[1]).max(axis=(1, 2))
    assert difference[0] > 0.1
    np.testing.assert_array_equal(difference[1:], 0)


def test_the_loss_counts_n_words_and_one_end():
    generator, batch = make_generator(), make_batch((3, 1, 5), padding=4)
    log_probs = generator.log_likelihood(batch)
    assert log_probs.shape == (3 + 1 + 5 + 3,)
    total, count = paper_loss(generator, batch)
    assert count == 12
    generator.compile(optimizer=keras.optimizers.SGD(0.1))
    logs = generator.test_step(batch)
    np.testing.assert_allclose(logs["loss"], total / count, rtol=1e-5)
    np.testing.assert_allclose(logs["perplexity"], np.exp(total / count), rtol=1e-5)


def test_the_mask_follows_the_targets():
    """A word that happens to stand in the padding, or END as an input, is scored nowhere."""
    generator, batch = make_generator(), make_batch((2, 4))
    log_probs = generator.log_likelihood(batch).numpy()
    # Step by step: two first words, two second ones, END and a third word, a fourth, its END.
    rows = [0, 1, 0, 1, 0, 1, 1, 1]
    steps = [1, 1, 2, 2, 3, 3, 4, 5]
    for got, row, step in zip(log_probs, rows, steps, strict=True):
        tokens = batch["token_ids"][row]
        expected = paper_log_probs(generator, batch["image_features"][row], tokens[:step])
        np.testing.assert_allclose(got, expected[-1, tokens[step]], atol=2e-5)


def test_more_padding_changes_nothing():
    generator = make_generator()
    short, long = make_batch(padding=0), make_batch(padding=7)
    np.testing.assert_array_equal(generator.log_likelihood(short), generator.log_likelihood(long))
    np.testing.assert_allclose(generator(short)[0, :4], generator(long)[0, :4], atol=1e-6)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_without_words(rows):
    generator = make_generator()
    generator.compile(optimizer=keras.optimizers.SGD(0.1))
    before = [weight.numpy() for weight in generator.weights]
    batch = {
        "image_features": np.ones([rows, FEATURES], np.float32),
        "token_ids": np.zeros([rows, 4], np.int32),
    }
    assert generator.train_step(batch)["loss"] == 0
    for old, new in zip(before, generator.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_unknown_words_count_in_the_perplexity():
    generator = make_generator()
    unknown = {
        "image_features": np.zeros([1, FEATURES], np.float32),
        "token_ids": np.array([[START, 3, END]], np.int32),
    }
    assert generator.log_likelihood(unknown).shape == (2,)


def test_gradients():
    """Central differences in float64, along a random direction of every weight."""
    keras.utils.set_random_seed(0)
    generator = CaptionGenerator(VOCABULARY, hidden_dim=4, word_dim=3, dtype="float64")
    generator.build({"image_features": (None, FEATURES), "token_ids": (None, None)})
    rng = np.random.default_rng(0)
    batch = make_batch((2, 3))
    batch["image_features"] = batch["image_features"].astype(np.float64)
    variables = generator.trainable_variables
    assert len(variables) == 7
    for variable in variables:
        variable.assign(variable + rng.normal(scale=0.3, size=variable.shape))

    def loss():
        return -tf.reduce_sum(generator.log_likelihood(batch))

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        direction = rng.normal(size=variable.shape)
        start, step = variable.numpy(), 1e-6
        variable.assign(start + step * direction)
        above = loss()
        variable.assign(start - step * direction)
        below = loss()
        variable.assign(start)
        expected = np.sum(tf.convert_to_tensor(gradient).numpy() * direction)
        np.testing.assert_allclose((above - below) / (2 * step), expected, rtol=1e-6)


def test_one_step_of_sgd_is_clipped_by_element():
    generator, batch = make_generator(clip_value=0.01), make_batch()
    generator.compile(optimizer=keras.optimizers.SGD(1.0))
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(generator.log_likelihood(batch))
    gradients = tape.gradient(loss, [weight.value for weight in generator.trainable_variables])
    before = [weight.numpy() for weight in generator.trainable_variables]
    generator.train_step(batch)
    clipped = 0
    for old, new, gradient in zip(before, generator.trainable_variables, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        clipped += np.sum(np.abs(gradient) > 0.01)
        np.testing.assert_allclose(new, old - np.clip(gradient, -0.01, 0.01), atol=1e-6)
    assert clipped > 20


def test_dropout_never_enters_the_recurrence():
    """With dropout on h the state that goes on is the whole one."""
    generator = make_generator(dropout=0.5)
    generator.word_dropout.rate = 0.0  # only h is left
    captured = []
    generator.hidden_dropout = lambda hidden, training: captured.append(hidden) or hidden
    batch = make_batch((6,))
    generator(batch, training=True)
    plain = make_generator()
    hidden = []
    plain.hidden_dropout = lambda value, training: hidden.append(value) or value
    plain(batch)
    np.testing.assert_array_equal(captured[0], hidden[0])


def test_dropout_in_training_only():
    generator, batch = make_generator(dropout=0.5, image_dropout=0.5), make_batch()
    once, twice = generator(batch, training=True), generator(batch, training=True)
    assert np.abs(once - twice).max() > 0.01
    np.testing.assert_array_equal(generator(batch), generator(batch))
    np.testing.assert_array_equal(
        generator.log_likelihood(batch), make_generator().log_likelihood(batch)
    )


@pytest.mark.slow
def test_overfits_a_batch_and_says_it_again():
    keras.utils.set_random_seed(0)
    generator = CaptionGenerator(VOCABULARY, hidden_dim=32, word_dim=16)
    generator.compile(optimizer=keras.optimizers.RMSprop(0.005))
    batch = make_batch((3, 1, 5, 4))
    dataset = tf.data.Dataset.from_tensors(batch).repeat(40)
    history = generator.fit(dataset, epochs=4, verbose=0).history
    assert history["loss"][-1] < 0.1
    np.testing.assert_allclose(np.exp(history["loss"]), history["perplexity"], rtol=1e-5)
    length = batch["token_ids"].shape[1] - 1
    token_ids, log_probs = greedy_search(
        generator, batch["image_features"], max_length=length, allow_unknown=True
    )
    np.testing.assert_array_equal(token_ids, batch["token_ids"][:, 1:])
    expected = [
        -paper_loss(generator, {name: value[row : row + 1] for name, value in batch.items()})[0]
        for row in range(4)
    ]
    np.testing.assert_allclose(log_probs, expected, atol=1e-4)
    beam_ids, beam_log_probs = beam_search(
        generator, batch["image_features"], 3, length, allow_unknown=True
    )
    np.testing.assert_array_equal(beam_ids[:, 0], token_ids)
    np.testing.assert_allclose(beam_log_probs[:, 0], log_probs, atol=1e-5)


def test_the_loss_of_an_epoch_weighs_words_not_batches():
    generator = make_generator()
    generator.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    long, short = make_batch((5, 5)), make_batch((1,), padding=4)
    total = count = 0
    for batch in (long, short):
        batch_total, batch_count = paper_loss(generator, batch)
        total, count = total + batch_total, count + batch_count
    dataset = tf.data.Dataset.from_tensor_slices(
        {name: np.concatenate([long[name], short[name]]) for name in long}
    ).batch(2)
    logs = generator.evaluate(dataset, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["loss"], total / count, rtol=1e-5)
    np.testing.assert_allclose(logs["perplexity"], np.exp(total / count), rtol=1e-5)


def test_keras_file_round_trip(tmp_path):
    generator = make_generator(dropout=0.2, image_dropout=0.1, feature_scale=2.0, clip_value=3.0)
    batch = make_batch()
    generator.compile(optimizer=keras.optimizers.RMSprop(0.01))
    generator.train_step(batch)
    generator.save(tmp_path / "generator.keras")
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    assert loaded.get_config() == generator.get_config()
    np.testing.assert_array_equal(loaded(batch), generator(batch))
    for model in (generator, loaded):  # the optimizer's state is there too
        model.dropout = model.word_dropout.rate = model.hidden_dropout.rate = 0.0
        model.image_vector_dropout.rate = 0.0
        model.train_step(batch)
    np.testing.assert_allclose(loaded(batch), generator(batch), atol=1e-6)


def test_features_may_be_brought_to_one_length():
    scaled, plain, batch = make_generator(feature_scale=3.0), make_generator(), make_batch()
    lengths = np.linalg.norm(batch["image_features"], axis=1, keepdims=True)
    by_hand = {**batch, "image_features": batch["image_features"] * 3 / lengths}
    np.testing.assert_allclose(scaled(batch), plain(by_hand), atol=1e-5)
    np.testing.assert_allclose(
        scaled.initial_state(batch["image_features"]),
        plain.initial_state(by_hand["image_features"]),
        atol=1e-5,
    )


def test_works_inside_a_functional_model():
    generator, batch = make_generator(), make_batch()
    inputs = {
        "image_features": keras.Input([FEATURES], name="image_features"),
        "token_ids": keras.Input([None], dtype="int32", name="token_ids"),
    }
    model = keras.Model(inputs, generator(inputs))
    np.testing.assert_allclose(model(batch), generator(batch), atol=1e-6)


def test_mixed_precision_trains():
    generator = CaptionGenerator(VOCABULARY, 8, 6, dtype="mixed_bfloat16")
    generator.compile(optimizer=keras.optimizers.RMSprop(0.01))
    batch = make_batch()
    losses = []
    for _ in range(8):
        generator.reset_metrics()
        losses.append(float(generator.train_step(batch)["loss"]))
    assert losses[-1] < losses[0]
    assert generator(batch).dtype == tf.float32
    assert beam_search(generator, batch["image_features"], 2, 4)[1].dtype == tf.float32


@pytest.mark.parametrize("search", ["greedy", pytest.param("beam", marks=pytest.mark.slow)])
def test_tflite_builtins_say_the_same(search):
    generator = make_generator()
    features = np.random.default_rng(5).normal(size=[4, FEATURES]).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32)])
    def decode(image_features):
        if search == "greedy":
            return greedy_search(generator, image_features, max_length=6)
        return beam_search(generator, image_features, beam_size=3, max_length=6)

    module = tf.Module()
    module.variables_of_generator = [variable.value for variable in generator.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [decode.get_concrete_function()], module
    )
    assert list(converter.target_spec.supported_ops) == [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    [source] = interpreter.get_input_details()
    expected_ids, expected_log_probs = decode(features)
    for rows in (4, 1):
        interpreter.resize_tensor_input(source["index"], [rows, FEATURES])
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], features[:rows])
        interpreter.invoke()
        outputs = {
            detail["dtype"]: interpreter.get_tensor(detail["index"])
            for detail in interpreter.get_output_details()
        }
        np.testing.assert_array_equal(outputs[np.int32], expected_ids[:rows])
        np.testing.assert_allclose(outputs[np.float32], expected_log_probs[:rows], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary_size": 0}, "vocabulary_size must be at least 1, not 0"),
        ({"hidden_dim": -1}, "hidden_dim must be at least 1, not -1"),
        ({"word_dim": 0}, "word_dim must be at least 1, not 0"),
        ({"clip_value": 0.0}, "clip_value must be above 0 or None, not 0.0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CaptionGenerator(**{"vocabulary_size": 5, **options})


def test_a_batch_without_token_ids_is_refused():
    generator = make_generator()
    with pytest.raises(ValueError, match="inputs must hold 'token_ids'"):
        generator.train_step({"image_features": np.zeros([1, FEATURES], np.float32)})
