"""Phrases with several boxes, and people against each other."""

import types

import numpy as np

from visem_tf.metrics.phrases import each_against_the_others, one_box_a_phrase


def test_rows_of_one_phrase_become_the_box_around_them():
    phrases = types.SimpleNamespace(
        sentence_index=np.array([1, 0, 1, 1]),
        first=np.array([2, 2, 2, 2]),
        last=np.array([3, 3, 3, 4]),
        boxes=np.array(
            [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], [0.0, 0.3, 0.2, 0.9], [0.5, 0.5, 0.6, 0.6]]
        ),
    )
    found = one_box_a_phrase(phrases)
    rows = list(
        zip(found.sentence_index, found.first, found.last, found.boxes.tolist(), strict=True)
    )
    assert rows == [
        (0, 2, 3, [0, 0, 1, 1]),
        (1, 2, 3, [0.0, 0.2, 0.3, 0.9]),
        (1, 2, 4, [0.5, 0.5, 0.6, 0.6]),
    ]


def test_everybody_is_compared_with_the_others():
    references, captions, things = each_against_the_others(
        {"a": ["red ball", "ball"], "b": ["alone"], "c": ["x", "y", "x"]}
    )
    assert captions == {"a/0": "red ball", "a/1": "ball", "c/0": "x", "c/1": "y", "c/2": "x"}
    assert references["a/0"] == ["ball"]
    assert references["c/1"] == ["x", "x"]
    assert things == ["a", "a", "c", "c", "c"]
    assert each_against_the_others({"b": ["alone"]}) == ({}, {}, [])
