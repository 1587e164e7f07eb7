"""Self-training, against the formulas of its module in plain NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.phrases import (
    PhraseEvidence,
    Readout,
    ground_phrases,
    phrase_vectors,
)
from visem_tf.alignment.self_training import (
    PhraseTargets,
    find_targets,
    phrase_ends,
    self_training_loss,
)

S, T, R, D = 4, 6, 5, 3
READOUT = Readout("phrase", box_scale=1.4, proposer_weight=0.8, frame_penalty=0.5)


@pytest.fixture
def random():
    return np.random.default_rng(2)


@pytest.fixture
def content(random):
    content = random.uniform(size=[S, T]) < 0.6
    content[0], content[1] = True, False  # one phrase, and none
    return content


def phrases_of(row):
    """The phrases of a sentence: lists of the positions of their words."""
    found = [[]]
    for position, is_content in enumerate(row):
        if is_content:
            found[-1].append(position)
        elif found[-1]:
            found.append([])
    return [phrase for phrase in found if phrase]


def test_phrases_are_runs_of_content_words(random, content):
    words = random.normal(size=[S, T, D]).astype(np.float32)
    vectors = phrase_vectors(tf.constant(words), tf.constant(content)).numpy()
    ends = phrase_ends(tf.constant(content)).numpy()
    for n in range(S):
        phrases = phrases_of(content[n])
        assert np.flatnonzero(ends[n]).tolist() == [phrase[-1] for phrase in phrases]
        for phrase in phrases:
            mean = words[n, phrase].mean(axis=0)
            for word in phrase:
                np.testing.assert_allclose(vectors[n, word], mean, atol=1e-5)


def regions(random):
    low = random.uniform(0, 0.4, [S, R, 2])
    boxes = np.concatenate([low, low + random.uniform(0.3, 0.6, [S, R, 2])], axis=2)
    boxes[:, 0] = [0, 0, 1, 1]
    mask = np.arange(R) < np.array([R, R, R - 1, R - 2])[:, np.newaxis]
    scores = random.uniform(0.05, 0.9, [S, R])
    return boxes.astype(np.float32), scores.astype(np.float32), mask


@pytest.mark.parametrize("penalty", [0.0, 4.0])
def test_targets_overlap_the_region_of_the_read_out(random, content, penalty):
    boxes, scores, mask = regions(random)
    similarities = random.normal(size=[S, T, R]).astype(np.float32)
    readout = READOUT._replace(overlap_penalty=penalty)
    targets, confidence = find_targets(
        *map(tf.constant, (similarities, boxes, scores, mask, content)), readout
    )
    for n in range(S):

        def weights(t, loss=0.0, n=n):
            logits = 1.4 * similarities[n, t] + 0.8 * np.log(scores[n]) - 0.5 * (np.arange(R) == 0)
            return np.exp(logits - loss) * mask[n]

        def overlaps(t, n=n):
            """Of the regions with the box of a word, which chooses alone."""
            shares = weights(t) / weights(t).sum()
            return np.array([sum(shares * [iou(a, b) for a in boxes[n]]) for b in boxes[n]])

        phrases = phrases_of(content[n])
        for t in range(T):
            others = [k for phrase in phrases if t not in phrase for k in phrase]
            overlap = np.max([overlaps(k) for k in others] or [np.zeros(R)], axis=0)
            one = np.where(mask[n], similarities[n, t], -np.inf)[np.newaxis, np.newaxis]
            word = tf.constant([[True]])
            parts = (boxes[n : n + 1], scores[n : n + 1], mask[n : n + 1])
            evidence = PhraseEvidence(tf.constant(one), word, word, None, *map(tf.constant, parts))
            evidence = evidence._replace(overlaps=tf.constant(overlap[np.newaxis], tf.float32))
            chosen = int(ground_phrases(evidence, readout).regions[0])
            expected = [mask[n, i] and iou(boxes[n, i], boxes[n, chosen]) >= 0.5 for i in range(R)]
            assert targets[n, t].numpy().tolist() == expected
            found = weights(t, penalty * overlap)
            share = found[expected].sum() / found.sum()
            assert float(confidence[n, t]) == pytest.approx(share, rel=1e-4)


def iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(np.clip(sides, 0, None))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def test_loss_is_the_mean_over_phrases_of_confident_cross_entropies(random, content):
    _, _, mask = regions(random)
    similarities = random.normal(size=[S, T, R]).astype(np.float32)
    targets = (random.uniform(size=[S, T, R]) < 0.5) & mask[:, np.newaxis]
    targets[..., 0] = True
    confidence = random.uniform(size=[S, T]).astype(np.float32)
    loss = self_training_loss(
        tf.constant(similarities),
        PhraseTargets(tf.constant(targets), tf.constant(confidence)),
        phrase_ends(tf.constant(content)),
        tf.constant(mask),
        scale=1.7,
    )
    expected = 0.0
    for n in range(S):
        losses = []
        for phrase in phrases_of(content[n]):
            end = phrase[-1]
            probabilities = np.exp(1.7 * similarities[n, end]) * mask[n]
            probabilities /= probabilities.sum()
            losses.append(-confidence[n, end] * np.log(probabilities[targets[n, end]].sum()))
        expected += np.mean(losses) if losses else 0.0
    assert float(loss) == pytest.approx(expected, rel=1e-4)
