"""Snippets: which words of a segment remain, against the rules as a loop over words."""

import itertools

import numpy as np
import pytest

from visem_tf.alignment.segments import find_segments
from visem_tf.alignment.snippets import Snippets, find_snippets, regions_of_snippets

CONTENT, FUNCTION, DETERMINER = 0, 1, 2


def make_sentences(seed, sentences=60, words=9):
    """Regions, scores and kinds of words."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, words + 1, (sentences, 1))
    regions = np.where(np.arange(words) < lengths, random.integers(0, 2, (sentences, words)), -1)
    scores = np.where(regions >= 0, random.normal(size=regions.shape), 0)
    kinds = random.choice([CONTENT, FUNCTION, DETERMINER], regions.shape, p=[0.5, 0.3, 0.2])
    return regions, scores, np.where(regions >= 0, kinds, CONTENT)


def expected_snippets(regions, scores, kinds, split, trim, min_words):
    found = []
    for sentence, row in enumerate(regions):
        pieces, previous = [], None
        for word, region in enumerate(row):
            if region < 0:
                break
            kind = kinds[sentence, word]
            cut = split and previous is not None and previous[1] == CONTENT and kind != CONTENT
            if previous is None or previous[0] != region or cut:
                pieces.append([])
            pieces[-1].append(word)
            previous = (region, kind)
        for piece in pieces:
            words = list(piece)
            if trim:
                while words and kinds[sentence, words[-1]] != CONTENT:
                    words.pop()
                while words and kinds[sentence, words[0]] == FUNCTION:
                    words.pop(0)
            if len(words) >= min_words:
                score = scores[sentence, words].mean()
                found.append((sentence, words[0], words[-1], row[words[0]], score))
    return found


@pytest.mark.parametrize(
    ("split", "trim", "min_words"), itertools.product([False, True], [False, True], [1, 2])
)
def test_snippets_follow_the_rules(split, trim, min_words):
    regions, scores, kinds = make_sentences(0)
    is_function = kinds != CONTENT
    options = {}
    if trim:
        options |= {"may_begin": kinds != FUNCTION, "may_end": ~is_function}
    if split:
        options["begins_phrase"] = is_function & np.pad(~is_function, [[0, 0], [1, 0]])[:, :-1]
    found = find_snippets(regions, scores, min_words=min_words, **options)
    expected = expected_snippets(regions, scores, kinds, split, trim, min_words)
    assert len(expected) > 20
    np.testing.assert_allclose(np.stack(found, axis=1), expected)


def test_by_default_snippets_are_segments():
    regions, scores, _ = make_sentences(1)
    found = find_snippets(regions, scores)
    for ours, segments in zip(found, find_segments(regions), strict=False):
        np.testing.assert_array_equal(ours, segments)


def test_the_best_snippets_are_kept():
    regions, scores, _ = make_sentences(2)
    every = find_snippets(regions, scores)
    some = find_snippets(regions, scores, keep=0.25)
    assert len(some.score) == pytest.approx(len(every.score) / 4, abs=1)
    np.testing.assert_array_equal(some.score, every.score[every.score >= some.score.min()])


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)])
def test_nothing_has_no_snippets(shape):
    regions = np.full(shape, -1)
    some = {"may_begin": regions < 0, "may_end": regions < 0, "begins_phrase": regions > 0}
    found = find_snippets(regions, np.zeros(shape), keep=0.5, **some)
    assert len(found.sentence) == 0
    np.testing.assert_array_equal(regions_of_snippets(found, shape), regions)


def test_regions_outside_of_snippets_are_removed():
    found = Snippets(
        *(np.array(part) for part in ([0, 0, 2], [1, 4, 0], [2, 4, 1], [5, 5, 3], [0.0] * 3))
    )
    assert regions_of_snippets(found, (3, 5)).tolist() == [
        [-1, 5, 5, -1, 5],
        [-1, -1, -1, -1, -1],
        [3, 3, -1, -1, -1],
    ]
