"""Evidence, intervals and paired tests against drawing, repeating and enumerating by hand."""

import itertools
import random

import numpy as np
import pytest

from visem_tf.metrics.java import java_reason
from visem_tf.metrics.ranking import ranking_evidence, ranking_summary, ranks
from visem_tf.metrics.resampling import (
    Evidence,
    differences,
    intervals,
    load_evidence,
    median,
    ratio,
    save_evidence,
)

WORDS = ["a", "the", "dog", "cat", "runs", "sits", "on", "in", "red", "big", "grass", "snow"]


def sentences(generator, count):
    return [" ".join(generator.choices(WORDS, k=generator.randint(2, 9))) for _ in range(count)]


@pytest.fixture(scope="module")
def collection():
    generator = random.Random(0)
    references = {str(n): sentences(generator, 1 + n % 4) for n in range(12)}
    captions = dict(zip(references, sentences(generator, 12), strict=True))
    captions["3"] = references["3"][0]  # METEOR counts captions that equal a reference specially
    return references, captions


@pytest.mark.skipif(java_reason() is not None, reason=str(java_reason()))
@pytest.mark.parametrize("with_meteor", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_repeated_images_score_as_their_weights_say(collection, with_meteor, caption_scorer):
    """BLEU, ROUGE-L and METEOR of a multiset of images, by the scorer and by the evidence."""
    pytest.importorskip("pycocoevalcap")
    references, captions = collection
    weights = np.array([[0, 2, 1, 3, 1, 0, 0, 1, 1, 2, 0, 1], np.ones(12)])
    names = ["bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", *(["meteor"] if with_meteor else [])]
    found = caption_scorer.score(references, {"x": captions}, with_meteor=with_meteor)["x"]
    for row in weights:
        repeated = [(key, n) for key, w in zip(captions, row, strict=True) for n in range(int(w))]
        drawn = caption_scorer.score(
            {f"{key}/{n}": references[key] for key, n in repeated},
            {"x": {f"{key}/{n}": captions[key] for key, n in repeated}},
            with_meteor=with_meteor,
        )["x"]
        for name in names:
            value = found.evidence[name].values(row[np.newaxis])[0]
            assert value == pytest.approx(drawn.scores[name], rel=1e-9), name
    # CIDEr's weights of words stay those of all pictures.
    assert found.evidence["cider"].values(weights[1:])[0] == pytest.approx(found.scores["cider"])


def test_evidence_of_a_ranking_gives_its_figures():
    rng = np.random.default_rng(0)
    image_index = np.repeat(np.arange(9), rng.integers(1, 5, 9))
    image_index = image_index[image_index != 4]  # a picture without sentences
    annotation, search = ranks(rng.normal(size=[9, len(image_index)]), image_index)
    evidence = ranking_evidence(annotation, search, image_index, 9)
    for direction, figures in ranking_summary(annotation, search).items():
        for name, value in figures.items():
            found = evidence[f"{direction}.{name}"].values(np.ones([1, 9]))
            assert found[0] == pytest.approx(value), (direction, name)


def test_a_weighted_median_is_that_of_repeated_queries():
    rng = np.random.default_rng(1)
    picture, rank = rng.integers(0, 6, 15), rng.integers(1, 20, 15)
    weights = rng.integers(0, 4, [50, 6])
    found = median(rank, picture).values(weights)
    for row, value in zip(weights, found, strict=True):
        assert value == np.median(np.repeat(rank, row[picture]))
    assert np.isnan(median(rank, picture).values(np.zeros([1, 6]))[0])


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(2)
    inside = 0
    for seed in range(100):
        evidence = {"x": ratio(rng.random(100) < 0.3, np.arange(100), 100)}
        low, high = intervals(evidence, 100, resamples=300, seed=seed)["x"]
        inside += low <= 30 <= high
    assert 86 <= inside <= 99


def test_pictures_are_drawn_and_not_sentences():
    """Five equal answers a picture make the interval of one answer a picture."""
    hits, pictures = np.arange(40) % 2 == 0, np.arange(40)
    one = intervals({"x": ratio(hits, pictures, 40)}, 40)["x"]
    five = intervals({"x": ratio(np.repeat(hits, 5), np.repeat(pictures, 5), 40)}, 40)["x"]
    assert one == pytest.approx(five)


def test_a_system_does_not_differ_from_itself():
    evidence = {"r1": ratio(np.arange(20) % 3 == 0, np.arange(20), 20)}
    found = differences(evidence, evidence, 20)["r1"]
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


@pytest.mark.parametrize("kind", ["ratio", "median"])
def test_the_p_value_is_that_of_all_exchanges(kind):
    rng = np.random.default_rng(3)
    a, b = rng.integers(1, 12, 8), rng.integers(1, 12, 8) + 3
    if kind == "ratio":
        first, second = (ratio(x <= 6, np.arange(8), 8) for x in (a, b))
        figure = lambda x: 100 * np.mean(x <= 6)  # noqa: E731
    else:
        first, second = (median(x, np.arange(8)) for x in (a, b))
        figure = np.median
    observed = figure(a) - figure(b)
    exceeds = []
    for exchanged in itertools.product([False, True], repeat=8):
        x, y = np.where(exchanged, b, a), np.where(exchanged, a, b)
        exceeds.append(abs(figure(x) - figure(y)) >= abs(observed) - 1e-9)
    found = differences({"x": first}, {"x": second}, 8, resamples=20_000)["x"]
    assert found.difference == pytest.approx(observed)
    assert found.p == pytest.approx(np.mean(exceeds), abs=0.015)
    assert found.low <= observed <= found.high


def test_figures_of_other_kinds_are_refused():
    hits = ratio([1, 0], np.arange(2), 2)
    with pytest.raises(ValueError, match="x is of kind ratio and of median"):
        differences({"x": hits}, {"x": median(np.ones(2), np.arange(2))}, 2)


def test_evidence_on_disk(tmp_path):
    path = tmp_path / "evidence_test.npz"
    evidence = {
        "ranking.image_search.r1": ratio([1, 0], np.arange(2), 2),
        "captions.beam.bleu4": Evidence("bleu4", np.ones([2, 10])),
    }
    save_evidence(path, evidence, ["ä", "b"])
    found, image_ids = load_evidence(path)
    assert image_ids == ["ä", "b"]
    assert list(found) == list(evidence)
    for name, figure in evidence.items():
        assert found[name].kind == figure.kind
        np.testing.assert_array_equal(found[name].parts, figure.parts)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        load_evidence(path)
    np.savez(path, a=np.zeros(2))
    with pytest.raises(ValueError, match="holds no evidence"):
        load_evidence(path)
