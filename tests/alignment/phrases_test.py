"""The read-outs of phrases, against their definitions in plain NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.overlaps import boxes_around_two
from visem_tf.alignment.phrases import (
    GRID,
    READOUTS,
    PhraseEvidence,
    Readout,
    content_words,
    ground_phrases,
    highest_points,
)
from visem_tf.config.registry import READOUTS as NAMES

N, T, R = 6, 5, 7


@pytest.fixture
def evidence():
    random = np.random.default_rng(3)
    low = random.uniform(0, 0.6, [N, R, 2])
    boxes = np.concatenate([low, low + random.uniform(0.1, 0.4, [N, R, 2])], axis=2)
    boxes[:, 0] = [0, 0, 1, 1]
    mask = np.arange(R) < random.integers(3, R + 1, [N, 1])
    words = random.uniform(size=[N, T]) < 0.7
    words[:, 0] = True
    similarities = np.where(mask[:, np.newaxis], random.normal(size=[N, T, R]), -np.inf)
    values = {
        "similarities": similarities.astype(np.float32),
        "words": words,
        "content": words & (np.arange(T) != 1),
        "word_regions": np.where(words, random.integers(0, 3, [N, T]), -1).astype(np.int32),
        "boxes": boxes.astype(np.float32),
        "region_scores": random.uniform(0.01, 0.9, [N, R]).astype(np.float32),
        "region_mask": mask,
        "lengths": random.uniform(0.5, 3, [N]).astype(np.float32),
        "overlaps": random.uniform(0, 0.9, [N, R]).astype(np.float32),
        "several": np.zeros(N, bool),
    }
    return PhraseEvidence(**values)


def find(evidence, **settings):
    tensors = PhraseEvidence(*(None if part is None else tf.constant(part) for part in evidence))
    return [np.asarray(part) for part in ground_phrases(tensors, Readout(**settings))]


def iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(np.clip(sides, 0, None))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def softmax(values):
    shares = np.exp(values - values.max())
    return shares / shares.sum()


def test_the_names_are_those_of_the_configuration():
    assert sorted(READOUTS) == sorted(NAMES)
    with pytest.raises(ValueError, match="readout must be one of word, mrf, phrase, not 'words'"):
        ground_phrases(None, Readout("words"))


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("heat_map", ["flat", "peaked"])
@pytest.mark.parametrize("compiled", [False, True])
def test_by_phrase_takes_the_largest_expected_overlap_and_the_highest_point(
    evidence, compiled, heat_map, unit
):
    settings = {
        "unit_phrases": unit,
        "box_scale": 1.7,
        "proposer_weight": 1.3,
        "frame_penalty": 0.6,
        "overlap_penalty": 2.2,
        "point_scale": 2.5,
        "heat_map": heat_map,
    }
    if compiled:
        function = tf.function(lambda e: ground_phrases(e, Readout("phrase", **settings)))
        found = function(PhraseEvidence(*map(tf.constant, evidence)))
        boxes, points, scores, regions, ranking, _ = map(np.asarray, found)
    else:
        boxes, points, scores, regions, ranking, _ = find(evidence, name="phrase", **settings)
    for n in range(N):
        real = evidence.region_mask[n]
        region_boxes = evidence.boxes[n][real].astype(np.float64)
        means = evidence.similarities[n][evidence.content[n]][:, real].mean(axis=0)
        prior = 1.3 * np.log(evidence.region_scores[n][real])
        prior[0] -= 0.6
        prior -= 2.2 * evidence.overlaps[n][real]
        scaled = means / evidence.lengths[n] if unit else means
        shares = softmax(1.7 * scaled + prior)
        expected = np.array(
            [
                sum(p * iou(a, b) for p, a in zip(shares, region_boxes, strict=True))
                for b in region_boxes
            ]
        )
        np.testing.assert_allclose(ranking[n][real], expected, rtol=1e-4)
        assert np.isneginf(ranking[n][~real]).all()
        assert regions[n] == expected.argmax()
        np.testing.assert_allclose(boxes[n], region_boxes[regions[n]], rtol=1e-6)
        assert scores[n] == pytest.approx(means[regions[n]], rel=1e-4)
        # The point is in the cells with the largest sum.
        peaked = heat_map == "peaked"
        weights = softmax(2.5 * scaled + prior) if peaked else softmax(2.5 * scaled)
        weights /= np.sqrt(np.prod(region_boxes[:, 2:] - region_boxes[:, :2], axis=1))
        centres = (np.arange(GRID) + 0.5) / GRID
        heat = np.zeros([GRID, GRID])
        for weight, (top, left, bottom, right) in zip(weights, region_boxes, strict=True):
            rows, columns = (
                (centres >= top) & (centres <= bottom),
                (centres >= left) & (centres <= right),
            )
            if peaked:
                rows = rows * (1 - 0.3 * ((2 * centres - top - bottom) / (bottom - top)) ** 2)
                columns = columns * (1 - 0.3 * ((2 * centres - left - right) / (right - left)) ** 2)
            heat += weight * np.outer(rows, columns)
        highest = np.argwhere(heat >= heat.max() * (1 - 1e-5))
        np.testing.assert_allclose(points[n], centres[highest].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_only_by_phrase_gives_several_things_the_box_around_two_regions(evidence, name):
    settings = {"name": name, "box_scale": 1.7, "proposer_weight": 1.3, "overlap_penalty": 2.2}
    alone = find(evidence, **settings)
    found = find(evidence._replace(several=np.arange(N) % 2 == 0), **settings)
    np.testing.assert_array_equal(found[1], alone[1])  # the point
    np.testing.assert_array_equal(found[4], alone[4])  # the ranking
    for n in range(N):
        if n % 2 or name != "phrase":
            assert not found[5][n]
            for part, other in zip(found, alone, strict=True):
                np.testing.assert_array_equal(part[n], other[n])
            continue
        assert found[5][n]
        real = evidence.region_mask[n]
        means = evidence.similarities[n][evidence.content[n]][:, real].mean(axis=0)
        logits = 1.7 * means + 1.3 * np.log(evidence.region_scores[n][real])
        logits -= 2.2 * evidence.overlaps[n][real]
        box, region = boxes_around_two(
            *(tf.constant(part[np.newaxis]) for part in (logits, evidence.boxes[n][real])),
            tf.ones([1, real.sum()], tf.bool),
        )
        np.testing.assert_allclose(found[0][n], box[0], rtol=1e-5)
        assert found[3][n] == int(region[0])
        assert found[2][n] == pytest.approx(means[int(region[0])], rel=1e-4)
    none = evidence._replace(several=None)
    for part, other in zip(find(none, **settings), alone, strict=True):
        np.testing.assert_array_equal(part, other)


def test_by_word_sums_over_all_words_and_points_at_the_centre(evidence):
    boxes, points, scores, regions, ranking, _ = find(evidence, name="word")
    for n in range(N):
        sums = evidence.similarities[n][evidence.words[n]].sum(axis=0)
        np.testing.assert_allclose(ranking[n], sums, rtol=1e-4)
        assert regions[n] == sums.argmax()
        np.testing.assert_allclose(points[n], (boxes[n, :2] + boxes[n, 2:]) / 2)
        mean = evidence.similarities[n][evidence.words[n]].mean(axis=0)[regions[n]]
        assert scores[n] == pytest.approx(mean, rel=1e-4)


def test_by_mrf_takes_the_region_of_most_words_then_the_largest_sum(evidence):
    _, _, _, regions, ranking, _ = find(evidence, name="mrf")
    for n in range(N):
        words = np.flatnonzero(evidence.words[n])
        votes = np.bincount(evidence.word_regions[n, words], minlength=R)
        support = np.zeros(R)
        for word in words:
            region = evidence.word_regions[n, word]
            support[region] += evidence.similarities[n, word, region]
        best = max(np.flatnonzero(votes), key=lambda region: (votes[region], support[region]))
        assert regions[n] == best
        rest = np.flatnonzero((votes == 0) & evidence.region_mask[n])
        sums = evidence.similarities[n][evidence.words[n]].sum(axis=0)
        assert ranking[n][np.flatnonzero(votes)].min() > ranking[n][rest].max(initial=-np.inf)
        order = rest[np.argsort(-sums[rest])]
        assert np.all(np.diff(ranking[n][order]) < 0)


@pytest.mark.parametrize("name", NAMES)
def test_padding_order_and_company_change_nothing(evidence, name):
    whole = find(evidence, name=name, proposer_weight=0.5, overlap_penalty=0.7)
    order = np.array([0, *(1 + np.random.default_rng(0).permutation(R - 1))])
    back = np.argsort(order)
    permuted = PhraseEvidence(
        evidence.similarities[:, :, order],
        evidence.words,
        evidence.content,
        np.where(evidence.words, back[evidence.word_regions], -1).astype(np.int32),
        evidence.boxes[:, order],
        evidence.region_scores[:, order],
        evidence.region_mask[:, order],
        evidence.lengths,
        evidence.overlaps[:, order],
        evidence.several,
    )
    other = find(permuted, name=name, proposer_weight=0.5, overlap_penalty=0.7)
    for a, b in zip(whole[:3], other[:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    alone = PhraseEvidence(*(part[2:3] for part in evidence))
    alone = find(alone, name=name, proposer_weight=0.5, overlap_penalty=0.7)
    for a, b in zip(whole, alone, strict=True):
        np.testing.assert_allclose(a[2:3], b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_phrases_without_words_and_images_without_regions_have_no_place(evidence, name):
    evidence.words[0] = evidence.content[0] = False
    evidence.word_regions[0] = -1
    evidence.region_mask[1] = False
    evidence.similarities[1] = -np.inf
    evidence.several[:3] = True
    boxes, points, scores, regions, ranking, several = find(evidence, name=name)
    assert several.tolist() == [False, False, name == "phrase", *[False] * (N - 3)]
    for n in (0, 1):
        assert not boxes[n].any()
        assert not points[n].any()
        assert np.isneginf(scores[n])
        assert regions[n] == -1
        assert np.isneginf(ranking[n]).all()
    assert np.isfinite(scores[2:]).all()


def test_scores_of_the_proposer_count_only_with_a_weight(evidence):
    other = evidence._replace(region_scores=np.full([N, R], -3.0, np.float32))
    for a, b in zip(find(evidence), find(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(find(other, proposer_weight=1.0)[2]).all()


def test_equal_scores_of_the_proposer_say_nothing(evidence):
    zeros = evidence._replace(region_scores=np.zeros([N, R], np.float32))  # as of given boxes
    for a, b in zip(find(evidence), find(zeros, proposer_weight=2.0), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_content_words_are_all_words_of_a_phrase_of_function_words():
    words = tf.constant([[True, True, True, False], [True, True, False, False]])
    function = tf.constant([[True, False, False, False], [True, True, False, True]])
    assert content_words(words, function).numpy().tolist() == [
        [False, True, True, False],
        [True, True, False, False],
    ]


@pytest.mark.parametrize("falloff", [0.0, 0.3])
def test_the_highest_point_of_a_tiny_box_is_near_it(falloff):
    boxes = tf.constant([[[0.0, 0.0, 1.0, 1.0], [0.501, 0.751, 0.502, 0.752]]])
    point = highest_points(tf.constant([[0.5, 0.5]]), boxes, falloff).numpy()[0]
    np.testing.assert_allclose(point, [0.5015, 0.7515], atol=1 / GRID)
