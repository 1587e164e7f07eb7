"""The references of the benchmarks compute what visem_tf computes, and the command measures it."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.losses import ranking_loss
from visem_tf.alignment.mrf import smooth_alignment
from visem_tf.alignment.scores import alignment_scores
from visem_tf.decoding import beam_search
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.sentence_encoder import SentenceEncoder

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.case import SIZES, Case  # noqa: E402
from benchmarks.measuring import measure  # noqa: E402
from benchmarks.options import drawn  # noqa: E402
from benchmarks.paths import PATHS  # noqa: E402
from benchmarks.paths.brnn import encoder_weights  # noqa: E402
from benchmarks.paths.generator import generator_weights  # noqa: E402
from benchmarks.reference import alignment, generator  # noqa: E402

SENTENCES = [np.array(words, np.int32) for words in ([5, 6, 7, 5], [8], [9, 4])]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def padded(rows):
    width = max(map(len, rows))
    return np.array([np.pad(row, (0, width - len(row))) for row in rows], np.int32)


def test_the_reference_of_the_alignment_has_our_loss_and_gradients(rng):
    encoder = SentenceEncoder(10, 6, 5, word_dim=4)
    token_ids = tf.constant(padded(SENTENCES))
    encoder(token_ids)
    features = rng.standard_normal((3, 4, 7)).astype(np.float32)
    kernel = rng.standard_normal((7, 6)).astype(np.float32)
    weights = {**encoder_weights(encoder), "W_m": kernel, "b_m": np.zeros(6, np.float32)}
    loss, gradients = alignment.alignment_gradient(weights, features, SENTENCES)

    kernel = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        scores = alignment_scores(
            tf.constant(features) @ kernel, encoder(token_ids), word_mask=token_ids != 0
        )
        ours = ranking_loss(scores, tf.range(3))
    variables = {
        "W_m": kernel,
        "words": encoder.word_vectors.embeddings.value,
        "W_e": encoder.word_projection.kernel.value,
        "W_f": encoder.forward_kernel.value,
        "W_b": encoder.backward_kernel.value,
        "b_b": encoder.backward_bias.value,
        "W_d": encoder.output_projection.kernel.value,
    }
    assert loss == pytest.approx(float(ours), rel=1e-5)
    for name, gradient in tape.gradient(ours, variables).items():
        np.testing.assert_allclose(
            gradients[name], tf.convert_to_tensor(gradient), rtol=1e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_reference_of_the_generator_takes_our_step(cell, rng):
    model = CaptionGenerator(10, 6, 5, cell=cell)
    rows = [np.concatenate([[1], words, [2]]) for words in SENTENCES]
    features = rng.standard_normal((3, 7)).astype(np.float32)
    batch = {"image_features": tf.constant(features), "token_ids": tf.constant(padded(rows))}
    model(batch)
    model.compile(optimizer=keras.optimizers.RMSprop(1e-3))
    weights = generator_weights(model)
    squares = {name: np.zeros_like(value) for name, value in weights.items()}
    for _ in range(2):
        loss = generator.rmsprop_step(weights, squares, features, rows)
        model.reset_metrics()
        assert float(model.train_step(batch)["loss"]) == pytest.approx(loss, rel=1e-5)
    for name, value in generator_weights(model).items():
        # RMSProp's step is of its rate's size however small the gradient is.
        np.testing.assert_allclose(weights[name], value, atol=2e-5, err_msg=name)


def test_the_reference_of_the_beam_finds_our_sentences(rng):
    model = CaptionGenerator(12, 8, 6)
    features = rng.standard_normal((4, 7)).astype(np.float32)
    token_ids, log_probs = beam_search(model, tf.constant(features), 3, 6)
    weights = generator_weights(model)
    for row, log_prob, vector in zip(token_ids[:, 0], log_probs[:, 0], features, strict=True):
        found, said = generator.beam_search(weights, vector, 3, 6)
        assert said == [word for word in row.numpy().tolist() if word]
        assert found == pytest.approx(float(log_prob), rel=1e-5)


def test_the_reference_of_the_mrf_finds_our_regions(rng):
    similarities = rng.standard_normal((6, 9, 4)).astype(np.float32)
    ours = smooth_alignment(similarities, beta=0.7).numpy()
    for row, expected in zip(similarities, ours, strict=True):
        np.testing.assert_array_equal(alignment.smooth(row, 0.7), expected)


def test_ratios_are_those_of_the_amounts():
    done = []
    case = Case(
        "sleep", "small", "", "naps", 4, lambda: done.append(4),
        floor=lambda: done.append(2), floor_share=0.5,
        reference=lambda: done.append(1), reference_amount=1,
    )  # fmt: skip
    figures = measure(case, rounds=3)
    assert done[-9:] == [4, 2, 1] * 3  # in turn
    assert figures["per_second"] == pytest.approx(4 / figures["seconds"])
    assert {"times_floor", "times_reference", "peak_mib"} <= set(figures)


@pytest.mark.slow
def test_the_memory_of_a_case_is_the_largest_of_the_process():
    before = measure(Case("nothing", "small", "", "", 1, lambda: None), rounds=1)["peak_mib"]
    size = int(before * 2**20)  # as much again as it has had, so that it must show
    case = Case("zeros", "small", "", "", 1, lambda: np.ones(size, np.uint8).sum())
    assert measure(case, rounds=1)["peak_mib"] > 1.2 * before


@pytest.mark.slow
def test_the_command_writes_what_it_prints(tmp_path):
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--only", "mrf", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    [result] = found["results"]
    assert result["path"] == "MRF" and result["size"] in SIZES
    assert "MRF [small]" in done.stdout and str(file) in done.stdout
    assert found["machine"]["cores"] and set(PATHS) > {"mrf"}


def test_an_unknown_path_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "mfr"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--only must be of" in done.stderr and "'mfr'" in done.stderr


def test_the_page_of_scale_is_made_of_the_figures():
    from benchmarks.scale import page

    found = json.loads((ROOT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "scale.md").read_text(encoding="utf-8") == page(found)
    assert {result["size"] for result in found["results"]} == set(SIZES)
    faster = json.loads(json.dumps(found))
    for result in faster["results"]:
        result["per_second"] *= 10
    assert page(faster) != page(found)


def test_batches_of_like_length_have_the_same_texts_and_less_padding():
    rows = [np.full(length, length) for length in range(1, 201)] * 5
    mixed, bucketed = drawn(rows, 0), drawn(rows, 10)
    for batches in (mixed, bucketed):
        assert sorted(len(row) for batch in batches for row in batch) == sorted(map(len, rows))

    def area(batches):
        return sum(len(batch) * max(map(len, batch)) for batch in batches)

    assert area(bucketed) < 0.7 * area(mixed)
