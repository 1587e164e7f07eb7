"""Segments in JSON types."""

import numpy as np

from visem_tf.alignment.segments import attended_regions, snippet_as_json

BOXES = np.array([[0, 0, 1, 1], [0.123456, 0, 0.5, 0.5]])


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
