import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.losses import get_loss
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import GruSentenceEncoder, SentenceEncoder

VOCABULARY, EMBEDDING, HIDDEN, WORD, FEATURES = 20, 16, 12, 10, 9


def make_model(dtype="float32", dropout=0.0, encoder=SentenceEncoder, **options):
    keras.utils.set_random_seed(3)
    return AlignmentModel(
        RegionEncoder(EMBEDDING, dropout=dropout, dtype=dtype),
        encoder(VOCABULARY, EMBEDDING, HIDDEN, WORD, dropout, dropout, dtype=dtype),
        dtype=dtype,
        **options,
    )


def make_batch(size=6, regions=4, longest=5, seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(size, regions, FEATURES))
    features *= 10 / np.linalg.norm(features, axis=2, keepdims=True)
    token_ids = random.integers(4, VOCABULARY, (size, longest), np.int32)
    token_ids[np.arange(longest) >= random.integers(1, longest + 1, (size, 1))] = 0
    return {
        "region_features": features.astype(np.float32),
        "region_mask": np.arange(regions) < random.integers(1, regions + 1, (size, 1)),
        "token_ids": token_ids,
        "image_ids": np.array([7, 8, 7, *range(100, 100 + size - 3)]),  # one image twice
    }


def objective(model, batch):
    """C of the paper by loops over the embeddings that the model gives."""
    v = model.encode_regions(batch["region_features"]).numpy()
    s = model.encode_sentences(batch["token_ids"]).numpy()

    def score(k, n):
        words = s[n][batch["token_ids"][n] != 0]
        return sum(max(words[t] @ v[k][batch["region_mask"][k]].T) for t in range(len(words)))

    loss, ids = 0.0, batch["image_ids"]
    for k, n in itertools.product(range(len(v)), range(len(s))):
        if ids[k] != ids[n]:
            loss += max(0, score(k, n) - score(k, k) + model.margin)
            loss += max(0, score(n, k) - score(k, k) + model.margin)
    return loss


def with_swaps(batch, seed=5):
    """Adds two false sentences of each pair, one of the fourth, and none of the last."""
    swapped = np.stack([batch["token_ids"]] * 2, axis=1)
    swapped[:, :, 0] = np.random.default_rng(seed).integers(4, VOCABULARY, (len(swapped), 2))
    swapped[3, 1] = swapped[-1] = 0
    return dict(batch, swapped_ids=swapped)


def as_dataset(batch, size):
    return tf.data.Dataset.from_tensor_slices(batch).batch(size)


def metrics_of(model, batch):
    """The metrics of a batch, without tracing."""
    model.reset_metrics()
    logs = model.test_step({name: tf.constant(rows) for name, rows in batch.items()})
    return {name: float(value) for name, value in logs.items()}


def test_logged_loss_is_the_objective_a_pair():
    model, batch = make_model(), make_batch()
    model.compile(optimizer="sgd", run_eagerly=True)
    logs = model.evaluate(as_dataset(batch, 6), return_dict=True, verbose=0)
    np.testing.assert_allclose(logs["loss"], objective(model, batch) / 6, rtol=1e-5)
    assert set(logs) == {"loss", "score_spread", "collapsed"}
    assert logs["score_spread"] > 0.01
    assert logs["collapsed"] == 0
    # Batches of 4 and of 2 pairs: the mean over all pairs.
    ragged = model.evaluate(as_dataset(batch, 4), return_dict=True, verbose=0)["loss"]
    parts = [{name: rows[part] for name, rows in batch.items()} for part in (slice(4), slice(4, 6))]
    expected = sum(objective(model, part) for part in parts) / 6
    np.testing.assert_allclose(ragged, expected, rtol=1e-5)


def swap_objective(model, batch):
    """The loss of swapped nouns by loops over `AlignmentModel.call`, and the pairs that are won."""
    loss, wins = 0.0, []
    for k in range(len(batch["token_ids"])):
        sentences = [batch["token_ids"][k], *(row for row in batch["swapped_ids"][k] if row.any())]
        pair = {"region_features": batch["region_features"][k : k + 1]}
        pair["region_mask"] = batch["region_mask"][k : k + 1]
        scores = model({**pair, "token_ids": np.stack(sentences)}).numpy()[0] / model.temperature
        loss += np.log(np.exp(scores - scores[0]).sum())
        if len(scores) > 1:
            wins.append(scores[0] > scores[1:].max())
    return loss, wins


@pytest.mark.parametrize("score", ["best_region", "negative_aware"])
def test_swapped_sentences_add_their_cross_entropy(score):
    options = {"score": score, "temperature": 0.5}
    batch = with_swaps(make_batch())
    model, alone = make_model(swap_weight=0.7, **options), make_model(**options)
    model(batch)
    alone(batch)
    alone.set_weights(model.get_weights())

    without, logs = metrics_of(alone, batch), metrics_of(model, batch)
    loss, wins = swap_objective(model, batch)
    assert loss > 0.01
    assert len(wins) == 5
    np.testing.assert_allclose(logs["loss"], without["loss"] + 0.7 * loss / 6, rtol=1e-4)
    np.testing.assert_allclose(logs["swap_accuracy"], np.mean(wins), rtol=1e-6)
    assert "swap_accuracy" not in without
    # Batches without false sentences are those of a model without the weight.
    del batch["swapped_ids"]
    np.testing.assert_allclose(metrics_of(model, batch)["loss"], without["loss"], rtol=1e-6)


@pytest.mark.slow
def test_swapped_sentences_are_learned_to_be_false():
    batch = with_swaps(make_batch(size=8))
    model = make_model(swap_weight=1.0)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    model.fit(as_dataset(batch, 8).repeat(60), verbose=0)
    assert metrics_of(model, batch)["swap_accuracy"] == 1
    assert swap_objective(model, batch)[0] < 0.1


def test_several_sentences_of_an_image_are_pairs_of_their_own():
    model, batch = make_model(), make_batch()
    whole = {**batch, "image_ids": np.array([7, 7, 8, 8, 8, 9])}
    for name in ("region_features", "region_mask"):  # rows of one image are the same
        whole[name] = batch[name][[0, 0, 2, 2, 2, 5]]
    once = {**whole, "image_ids": np.array([7, 8, 9]), "sentence_images": whole["image_ids"]}
    for name in ("region_features", "region_mask"):
        once[name] = batch[name][[0, 2, 5]]
    loss, count = model.global_loss(once, training=False)
    assert int(count) == 6
    np.testing.assert_allclose(float(loss), objective(model, whole), rtol=1e-5)


def test_scores_match_the_call_and_leave_out_padding():
    model, batch = make_model(), make_batch()
    scores = model(batch).numpy()
    assert scores.shape == (6, 6)
    wider = dict(batch, token_ids=np.pad(batch["token_ids"], [(0, 0), (0, 3)]))
    wider["region_features"] = np.pad(batch["region_features"], [(0, 0), (0, 2), (0, 0)])
    wider["region_mask"] = np.pad(batch["region_mask"], [(0, 0), (0, 2)])
    np.testing.assert_allclose(model(wider), scores, atol=1e-5)
    chunked = model.score_embeddings(
        model.encode_regions(batch["region_features"]),
        model.encode_sentences(batch["token_ids"]),
        batch["region_mask"],
        batch["token_ids"] != 0,
        chunk_size=4,
    )
    np.testing.assert_allclose(chunked, scores, atol=1e-5)
    similarities = model.word_region_similarities(batch).numpy()
    assert similarities.shape == (6, 5, 4)
    best = np.where(batch["token_ids"] != 0, similarities.max(axis=2), 0)
    np.testing.assert_allclose(best.sum(axis=1), np.diag(scores), atol=1e-5)


@pytest.mark.parametrize("clip_value", [pytest.param(None, marks=pytest.mark.slow), 0.05])
def test_a_step_follows_the_clipped_gradient_of_the_sum_over_the_batch_size(clip_value):
    model, batch = make_model(clip_value=clip_value), make_batch()
    model.compile(optimizer=keras.optimizers.SGD(1.0), run_eagerly=True)
    model(batch)
    random = np.random.default_rng(1)
    for weight in model.trainable_variables:  # biases of 0 would stand on the kink of the ReLU
        weight.assign_add(random.normal(0, 0.05, weight.shape))
    before = [weight.numpy() for weight in model.trainable_variables]
    model.train_on_batch(batch)
    exact = make_model(dtype="float64")
    exact_batch = {**batch, "region_features": batch["region_features"].astype(np.float64)}
    exact(exact_batch)
    clipped = 0
    for position, old in enumerate(before):
        variable = model.trainable_variables[position]
        step = old - variable.numpy()
        model_gradient = 6 * step  # of C, after clipping
        index = np.unravel_index(np.abs(model_gradient).argmax(), old.shape)
        numerical = numerical_gradient(exact, exact_batch, before, position, index)
        expected = numerical if clip_value is None else np.clip(numerical, -clip_value, clip_value)
        clipped += abs(numerical) > 0.05
        np.testing.assert_allclose(model_gradient[index], expected, rtol=1e-3, atol=2e-3)
    assert len(before) == len(model.weights) == 11
    assert clipped > 5


def numerical_gradient(model, batch, weights, position, index, delta=1e-6):
    """dC / d(one element of one weight), by central differences in float64."""
    losses = []
    for sign in (1, -1):
        values = [weight.astype(np.float64) for weight in weights]
        values[position][index] += sign * delta
        model.set_weights(values)
        losses.append(objective(model, batch))
    return (losses[0] - losses[1]) / (2 * delta)


def test_scores_start_about_a_margin_apart():
    keras.utils.set_random_seed(0)
    model = AlignmentModel(RegionEncoder(500), SentenceEncoder(VOCABULARY, 500, 300))
    model.compile(optimizer="sgd", run_eagerly=True)
    batch = make_batch(size=40, regions=20, longest=15)
    logs = model.evaluate(as_dataset(batch, 40), return_dict=True, verbose=0)
    assert 0.3 < logs["score_spread"] < 3


@pytest.mark.slow
def test_one_batch_can_be_learned_by_heart():
    model, batch = make_model(), make_batch(size=8)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    dataset = as_dataset(batch, 8).repeat(60)
    history = model.fit(dataset, epochs=2, steps_per_epoch=60, verbose=0).history
    assert metrics_of(model, batch)["loss"] < 0.01
    assert history["loss"][1] < history["loss"][0]


def test_dropout_is_on_in_training_only():
    model, batch = make_model(dropout=0.5), make_batch()
    np.testing.assert_array_equal(model(batch), model(batch))
    assert not np.allclose(model(batch, training=True), model(batch))


def test_a_collapsed_model_raises_the_alarm():
    model, batch = make_model(), make_batch()
    model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    model(batch)
    for weight in model.region_encoder.weights:
        weight.assign(tf.zeros_like(weight))
    logs = model.fit(as_dataset(batch, 6), verbose=0).history
    assert logs["collapsed"] == [1.0]
    assert logs["score_spread"] == [0.0]
    np.testing.assert_allclose(logs["loss"], 2 * (6 * 5 - 2) / 6)  # one image is there twice


@pytest.mark.slow
@pytest.mark.parametrize(
    ("score", "loss", "encoder"),
    [
        ("cosine", "hinge_max", SentenceEncoder),
        ("attention", "infonce", GruSentenceEncoder),
        ("hard_alignment", "infonce", GruSentenceEncoder),
        ("negative_aware", "infonce", GruSentenceEncoder),
    ],
)
def test_other_scores_losses_and_encoders_learn_a_batch_by_heart(score, loss, encoder):
    model = make_model(
        encoder=encoder, score=score, loss=loss, margin=0.2, hinge_sum_steps=0, sharpness=4.0
    )
    batch = make_batch(size=8)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    before = metrics_of(model, batch)
    scores, ids = model(batch), tf.constant(batch["image_ids"])
    form = get_loss(loss)
    expected = form.function(scores, ids, {"margin": 0.2, "temperature": 0.1}[form.scale])
    np.testing.assert_allclose(before["loss"], expected / 8, rtol=1e-5)
    model.fit(as_dataset(batch, 8).repeat(80), verbose=0)
    assert metrics_of(model, batch)["loss"] < before["loss"] / 20


def test_the_hardest_negatives_count_after_the_warm_up_alone():
    model, batch = make_model(loss="hinge_max", hinge_sum_steps=2), make_batch()
    model.compile(optimizer=keras.optimizers.SGD(0.0))  # the scores stay
    scores, ids = model(batch), tf.constant(batch["image_ids"])
    all_of_them, hardest = (
        float(get_loss(name).function(scores, ids, 1.0)) / 6 for name in ("hinge_sum", "hinge_max")
    )
    assert all_of_them > hardest > 0
    losses = []
    for _ in range(4):
        model.reset_metrics()
        losses.append(float(model.train_step(batch)["loss"]))
    np.testing.assert_allclose(losses, [all_of_them, all_of_them, hardest, hardest], rtol=1e-5)


def test_a_word_is_compared_as_the_score_does():
    model, batch = make_model(score="cosine"), make_batch()
    similarities = model.word_region_similarities(batch).numpy()
    assert np.nanmax(similarities[np.isfinite(similarities)]) <= 1 + 1e-6
    words = batch["token_ids"] != 0
    best = np.where(words, similarities.max(axis=2), 0).sum(axis=1) / words.sum(axis=1)
    np.testing.assert_allclose(best, np.diag(model(batch)), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"score": "fragments", "normalise_by_length": True},
        {"score": "attention", "sharpness": 5.0, "loss": "infonce", "temperature": 0.3},
        {"loss": "hinge_max", "hinge_sum_steps": 1, "encoder": GruSentenceEncoder},
        {"score": "negative_aware", "sharpness": 20.0, "threshold": 0.2, "swap_weight": 0.3},
    ],
)
def test_a_saved_model_gives_the_same_scores(options, tmp_path):
    model, batch = make_model(dropout=0.2, margin=0.5, clip_value=None, **options), make_batch()
    model.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
    model.fit(as_dataset(batch, 6), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(batch), loaded(batch))
    for name in ("margin", "score", "normalise_by_length", "clip_value", "sharpness"):
        assert getattr(loaded, name) == getattr(model, name)
    for name in ("loss_name", "temperature", "hinge_sum_steps", "threshold", "swap_weight"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.sentence_encoder.get_config() == model.sentence_encoder.get_config()
    # Training goes on as if nothing had happened: the optimizer's state is there too.
    batch = make_batch(seed=1)
    for one in (model, loaded):
        keras.utils.set_random_seed(0)
        one.region_encoder.feature_dropout.rate = 0.0
        for layer in vars(one.sentence_encoder).values():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        one.train_step(batch)
    np.testing.assert_allclose(model(batch), loaded(batch), atol=1e-5)


@pytest.mark.slow
def test_mixed_precision_trains():
    model, batch = make_model(dtype="mixed_float16"), make_batch()
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    assert model(batch).dtype == "float32"
    exact = make_model()
    exact(batch)
    exact.set_weights(model.get_weights())
    np.testing.assert_allclose(model(batch), exact(batch), atol=0.2, rtol=0.02)
    first = metrics_of(model, batch)["loss"]
    model.fit(as_dataset(batch, 6).repeat(60), verbose=0)
    assert metrics_of(model, batch)["loss"] < first / 5


def test_arguments_are_checked():
    regions, sentences = RegionEncoder(4), SentenceEncoder(9, 4, 4)
    with pytest.raises(ValueError, match="one embedding_dim, not 5 and 4"):
        AlignmentModel(RegionEncoder(5), sentences)
    for name, value in (("score", "best"), ("margin", 0), ("clip_value", -1), ("swap_weight", -1)):
        with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
            AlignmentModel(regions, sentences, **{name: value})
