"""Ranking against loops written from the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.metrics.ranking import chance_ranking, fold_metrics, ranking_metrics, ranks


def ranks_by_loops(scores, image_index):
    """Sort, the right ones behind the wrong ones of equal score, and look where they stand."""
    annotation, search = [], []
    pictures, sentences = scores.shape
    for picture in range(pictures):
        own = [s for s in range(sentences) if image_index[s] == picture]
        if own:
            order = sorted(range(sentences), key=lambda s: (-scores[picture, s], s in own))
            annotation.append(1 + min(order.index(s) for s in own))
    for sentence in range(sentences):
        right = image_index[sentence]
        order = sorted(range(pictures), key=lambda p: (-scores[p, sentence], p == right))
        search.append(1 + order.index(right))
    return annotation, search


@settings(max_examples=200, deadline=None)
@given(data=st.data(), pictures=st.integers(1, 6), sentences=st.integers(1, 12))
def test_equals_the_loops_with_ties_and_any_number_of_sentences(data, pictures, sentences):
    index = st.integers(0, pictures - 1)
    image_index = np.array(data.draw(st.lists(index, min_size=sentences, max_size=sentences)))
    few = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])  # so that there are ties
    cells = data.draw(st.lists(few, min_size=pictures * sentences, max_size=pictures * sentences))
    scores = np.array(cells).reshape(pictures, sentences)
    annotation, search = ranks(scores, image_index)
    expected_annotation, expected_search = ranks_by_loops(scores, image_index)
    assert annotation.tolist() == expected_annotation
    assert search.tolist() == expected_search


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_figures_of_an_uneven_collection(dtype):
    rng = np.random.default_rng(0)
    image_index = np.repeat(np.arange(12), rng.integers(1, 8, 12))
    scores = (100 * rng.normal(size=[12, len(image_index)])).astype(dtype)
    figures = ranking_metrics(scores, image_index)
    assert list(figures) == ["image_annotation", "image_search"]
    loops = ranks_by_loops(scores, image_index)
    for figure, rank in zip(figures.values(), loops, strict=True):
        rank = np.array(rank)
        assert figure == {
            "r1": 100 * (rank <= 1).mean(),
            "r5": 100 * (rank <= 5).mean(),
            "r10": 100 * (rank <= 10).mean(),
            "median_rank": np.median(rank),
        }


def test_more_pictures_than_a_block_holds():
    rng = np.random.default_rng(2)
    image_index = rng.integers(0, 150, 210)
    scores = rng.integers(0, 40, [150, 210]).astype(np.float32)  # many ties
    annotation, search = ranks(scores, image_index)
    expected_annotation, expected_search = ranks_by_loops(scores, image_index)
    assert annotation.tolist() == expected_annotation
    assert search.tolist() == expected_search


@pytest.mark.parametrize("shuffled", [False, True])
def test_folds_are_rankings_of_their_own(shuffled):
    rng = np.random.default_rng(3)
    image_index = np.repeat(np.arange(11), 3)
    if shuffled:
        rng.shuffle(image_index)
    scores = rng.normal(size=[11, 33])
    found = fold_metrics(scores, image_index, 4)
    expected = []
    for first in (0, 4):  # pictures 8 to 10 are in no fold
        mine = np.flatnonzero((image_index >= first) & (image_index < first + 4))
        expected.append(
            ranking_metrics(scores[first : first + 4][:, mine], image_index[mine] - first)
        )
    assert (found["folds"], found["fold_size"]) == (2, 4)
    assert found["first"] == expected[0]
    for direction, figures in found["mean"].items():
        for name, value in figures.items():
            assert value == np.mean([fold[direction][name] for fold in expected])
    assert fold_metrics(scores, image_index, 6) is None


def test_chance_is_what_random_scores_reach():
    rng = np.random.default_rng(4)
    image_index = np.repeat(np.arange(8), [1, 2, 3, 4, 5, 5, 5, 5])
    expected = chance_ranking(image_index, 8)
    drawn = [ranking_metrics(rng.normal(size=[8, 30]), image_index) for _ in range(3000)]
    for direction, figures in expected.items():
        for name in ("r1", "r5", "r10"):
            mean = np.mean([d[direction][name] for d in drawn])
            assert figures[name] == pytest.approx(mean, abs=1.0), (direction, name)
    # Half of the best of five among 25 others stand at 4 or before.
    assert chance_ranking(np.repeat(np.arange(6), 5), 6)["image_annotation"]["median_rank"] == 4


def test_the_order_of_sentences_is_free():
    rng = np.random.default_rng(1)
    image_index = np.array([2, 0, 1, 1, 0, 2, 2])
    scores = rng.normal(size=[3, 7])
    order = rng.permutation(7)
    expected = ranking_metrics(scores, image_index)
    assert ranking_metrics(scores[:, order], image_index[order]) == expected


def test_a_collapsed_model_comes_out_last():
    figures = ranking_metrics(np.zeros([20, 100]), np.arange(100) // 5)
    assert figures["image_annotation"] == {"r1": 0, "r5": 0, "r10": 0, "median_rank": 96}
    assert figures["image_search"] == {"r1": 0, "r5": 0, "r10": 0, "median_rank": 20}


def test_a_perfect_model_has_median_rank_one():
    figures = ranking_metrics(np.repeat(np.eye(4), 2, axis=1), np.arange(8) // 2)
    for figure in figures.values():
        assert figure == {"r1": 100, "r5": 100, "r10": 100, "median_rank": 1}


def test_scores_that_are_nan_are_refused():
    with pytest.raises(ValueError, match="scores must not be NaN, as in row 1"):
        ranking_metrics(np.array([[0, 0], [np.nan, 0]]), np.array([0, 1]))
