"""METEOR's formula by hand, and against the Java program."""

import numpy as np
import pytest

from visem_tf.metrics import meteor
from visem_tf.metrics.java import java_reason
from visem_tf.metrics.meteor import Meteor, meteor_of_statistics


def test_the_formula_by_hand():
    """3 of 4 words in 2 chunks against 5: P = 3/4, R = 3/5."""
    statistics = np.zeros(23)
    statistics[[0, 1, 4, 5, 20, 21, 22]] = 4, 5, 3, 3, 2, 3, 3
    precision, recall = 3 / 4, 3 / 5
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    expected = mean * (1 - 0.6 * (2 / 3) ** 0.2)
    assert meteor_of_statistics(statistics) == pytest.approx(expected)
    assert meteor_of_statistics(np.zeros(23)) == 0


@pytest.mark.slow
@pytest.mark.skipif(java_reason() is not None, reason=str(java_reason()))
def test_the_formula_is_that_of_the_java_program(monkeypatch):
    pytest.importorskip("pycocoevalcap")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")  # "0,5"
    said = ["a dog runs in the snow", "people walk dogs quickly", "a dog", "", "the red the red"]
    gold = [
        ["a black dog is running in the snow", "a dog outside"],
        ["persons are walking a dog quick"],
        ["a dog"],
        ["a cat"],
        ["red the", "blue"],
    ]
    scorer = Meteor()
    found = scorer.score(said, gold)
    np.testing.assert_allclose(meteor_of_statistics(found.statistics), found.single, atol=1e-12)
    corpus = meteor_of_statistics(found.statistics.sum(axis=0))
    assert corpus == pytest.approx(found.corpus, abs=1e-12)
    assert scorer.score(said[:1], gold[:1]).corpus == pytest.approx(found.single[0])
    scorer.close()


def test_meteor_says_why_it_cannot(monkeypatch):
    monkeypatch.setattr(meteor, "java_reason", lambda: "none here")
    with pytest.raises(meteor.JavaError, match="METEOR needs Java: none here"):
        Meteor().score(["a"], [["a"]])
