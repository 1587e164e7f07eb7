"""The models in PyTorch compute what visem_tf computes, so that their times can be compared."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.inputs import DIM, FEATURES, VOCABULARY, WORD_DIM, features, padded
from visem_tf.alignment.losses import ranking_loss
from visem_tf.alignment.scores import alignment_scores
from visem_tf.decoding import beam_search
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.sentence_encoder import SentenceEncoder

torch = pytest.importorskip("torch", reason="extra `peers`")
peers = pytest.importorskip("benchmarks.peers")

ROWS = ([5, 6, 7, 5], [8], [9, 4])


def test_the_loss_of_the_alignment():
    model = peers.Alignment(dropout=0.0)
    weights = {name: value.detach().numpy().T for name, value in model.named_parameters()}
    encoder = SentenceEncoder(VOCABULARY, DIM, DIM, WORD_DIM)
    rows = [np.array(row, np.int32) for row in ROWS]
    token_ids = padded(rows)
    encoder(token_ids)
    for variable, name in (
        (encoder.word_vectors.embeddings, "words.weight"),
        (encoder.word_projection.kernel, "word_projection.weight"),
        (encoder.word_projection.bias, "word_projection.bias"),
        (encoder.forward_kernel, "forward_step.weight"),
        (encoder.forward_bias, "forward_step.bias"),
        (encoder.backward_kernel, "backward_step.weight"),
        (encoder.backward_bias, "backward_step.bias"),
        (encoder.output_projection.kernel, "output.weight"),
        (encoder.output_projection.bias, "output.bias"),
    ):
        variable.assign(weights[name].T if name == "words.weight" else weights[name])
    vectors = features(np.random.default_rng(0), 3, 4, FEATURES)
    regions = vectors @ weights["regions.weight"] + weights["regions.bias"]
    scores = alignment_scores(regions, encoder(token_ids), word_mask=token_ids != 0)
    found = model(torch.from_numpy(vectors), torch.from_numpy(token_ids).long())
    assert 3 * float(found) == pytest.approx(float(ranking_loss(scores, tf.range(3))), rel=1e-4)


def test_the_loss_and_the_sentences_of_the_generator():
    theirs, ours = peers.Generator(8).eval(), CaptionGenerator(VOCABULARY, 8, 8)
    theirs.output.bias.data[:4] = -50  # PAD, START, END and UNK
    weights = {name: value.detach().numpy().T for name, value in theirs.named_parameters()}
    vectors = features(np.random.default_rng(0), 3, FEATURES)
    token_ids = padded([np.array(row, np.int32) for row in ROWS], ends=True)
    batch = {"image_features": tf.constant(vectors), "token_ids": tf.constant(token_ids)}
    ours(batch)
    for variable, name in (
        (ours.word_vectors.embeddings, "words.weight"),
        (ours.image_projection.kernel, "image.weight"),
        (ours.word_projection.kernel, "inputs.weight"),
        (ours.recurrence.kernel, "recurrent.weight"),
        (ours.recurrence.bias, "recurrent.bias"),
        (ours.output_projection.kernel, "output.weight"),
        (ours.output_projection.bias, "output.bias"),
    ):
        variable.assign(weights[name].T if name == "words.weight" else weights[name])
    found = theirs.search(torch.from_numpy(vectors), 3, 5)[:, 0].numpy()
    np.testing.assert_array_equal(beam_search(ours, vectors, 3, 5)[0][:, 0, :5], found)
    ours.compile(optimizer="sgd")
    loss = float(theirs(torch.from_numpy(vectors), torch.from_numpy(token_ids).long()))
    assert float(ours.train_step(batch)["loss"]) == pytest.approx(loss, rel=1e-4)
