"""The reward against the COCO caption scorer."""

import numpy as np
import pytest

from visem_tf.metrics.cider_reward import CiderReward

PAD, END = 0, 2


def make_captions(rng, count, longest, vocabulary=9, shortest=1):
    token_ids = np.zeros([count, longest + 1], np.int64)
    for row in token_ids:
        length = rng.integers(shortest, longest + 1)
        row[:length] = rng.integers(3, vocabulary, length)
        row[length] = END
    return token_ids


def as_text(row):
    return " ".join(str(word) for word in row if word)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_coco_scorer(seed):
    cider_scorer = pytest.importorskip("pycocoevalcap.cider.cider_scorer")
    rng = np.random.default_rng(seed)
    pictures = 6
    image_index = rng.permutation(np.repeat(np.arange(pictures), rng.integers(1, 5, pictures)))
    references = make_captions(rng, len(image_index), 7)
    sentences = make_captions(rng, pictures, 8, vocabulary=11)  # words that no reference has
    sentences[0, :8] = references[np.flatnonzero(image_index == 0)[0]]
    sentences[0, 8:] = PAD
    scorer = cider_scorer.CiderScorer()
    for picture in range(pictures):
        texts = [as_text(row) for row in references[image_index == picture]]
        scorer += (as_text(sentences[picture]), texts)
    _, expected = scorer.compute_score()
    reward = CiderReward(references, image_index, vocabulary_size=11)
    order = rng.permutation(pictures)
    found = reward(sentences[order], order)
    np.testing.assert_allclose(found, expected[order], rtol=1e-9, atol=1e-12)
    assert expected.max() > 1


def test_the_same_picture_may_come_many_times_and_sentences_may_be_empty():
    rng = np.random.default_rng(0)
    references, image_index = make_captions(rng, 8, 6), np.repeat([0, 1], 4)
    reward = CiderReward(references, image_index, vocabulary_size=9)
    sentences = make_captions(rng, 5, 6)
    sentences[3] = 0
    images = np.array([1, 1, 0, 1, 1])
    together = reward(sentences, images)
    alone = [reward(sentences[n : n + 1], images[n : n + 1])[0] for n in range(5)]
    np.testing.assert_allclose(together, alone)
    assert together[3] == 0
    short = reward(np.array([[5]]), np.array([0]))  # fewer words than the longest n-gram
    assert np.isfinite(short).all()


def test_too_many_words_are_refused():
    with pytest.raises(ValueError, match="below 55,000, got 60000"):
        CiderReward(np.ones([1, 1]), np.zeros(1, int), 60_000)
