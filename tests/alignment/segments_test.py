"""Text segments: maximal runs of words with one region, and their JSON."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.alignment.segments import attended_regions, find_segments, snippet_as_json

BOXES = np.array([[0, 0, 1, 1], [0.123456, 0, 0.5, 0.5]])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.integers(0, 7))
def test_segments_are_the_runs_of_each_sentence(seed, sentences, words):
    random = np.random.default_rng(seed)
    regions = random.integers(0, 3, (sentences, words))
    regions[np.arange(words) >= random.integers(0, words + 1, (sentences, 1))] = -1
    expected = []
    for sentence, row in enumerate(regions.tolist()):
        first = 0
        for region, run in itertools.groupby(row):
            length = len(list(run))
            if region >= 0:
                expected.append((sentence, first, first + length - 1, region))
            first += length
    assert list(zip(*map(np.ndarray.tolist, find_segments(regions)), strict=True)) == expected


def test_regions_are_checked():
    with pytest.raises(ValueError, match="regions must have shape"):
        find_segments(np.zeros(3, int))


def test_the_segments_of_a_caption_cover_its_words():
    attention = np.array([[0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
    found = attended_regions("a red ball", attention, BOXES)
    assert [word["word"] for word in found["words"]] == ["a", "red", "ball"]
    assert [word["weight"] for word in found["words"]] == [0.6, 0.8, 0.9]
    first, second = found["segments"]
    assert first == {
        "text": "a",
        "first": 0,
        "last": 0,
        "region": 0,
        "box": [0, 0, 1, 1],
        "score": 0.6,
    }
    assert second["text"] == "red ball"
    assert second["box"] == [0.1235, 0.0, 0.5, 0.5]
    assert second["score"] == 0.85


def test_a_caption_without_words_has_no_segments():
    assert attended_regions("", np.zeros([0, 2]), BOXES) == {"words": [], "segments": []}


def test_a_segment_may_have_no_known_box():
    assert snippet_as_json(["a"], 0, 0, 3, None, 1.0)["box"] is None
