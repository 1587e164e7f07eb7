"""Phrase grounding, against its definition one phrase at a time."""

import numpy as np
import pytest

from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.metrics.grounding import (
    PROPOSALS,
    Candidates,
    by_type,
    hit_evidence,
    proposal_hits,
    readout_hits,
    reference_hits,
    true_phrases,
    true_things,
)
from visem_tf.metrics.regions import box_iou


def random_boxes(random, *shape):
    low = random.uniform(0, 0.7, [*shape, 2])
    return np.concatenate([low, low + random.uniform(0.05, 0.3, [*shape, 2])], axis=-1)


@pytest.fixture
def random():
    return np.random.default_rng(5)


@pytest.fixture
def phrases(random):
    """30 rows of 12 phrases in 6 sentences of 3 images, in no order."""
    keys = np.stack([random.integers(0, 6, 12), np.arange(12) % 3, np.arange(12) % 3 + 1], axis=1)
    keys = np.unique(keys, axis=0)
    rows = np.concatenate([np.arange(len(keys)), random.integers(0, len(keys), 30 - len(keys))])
    random.shuffle(rows)
    kinds = np.array(["people", "animals", "vehicles/scene", ""])
    return Phrases(
        sentence_index=keys[rows, 0],
        first=keys[rows, 1],
        last=keys[rows, 2],
        boxes=random_boxes(random, 30).astype(np.float32),
        object=np.arange(30, dtype=np.int32),
        text=["x"] * 30,
        type=kinds[rows % 4].tolist(),
    )


def rows_of(phrases, truth, number):
    key = truth.sentence_index[number], truth.first[number], truth.last[number]
    places = zip(phrases.sentence_index, phrases.first, phrases.last, strict=True)
    return [row for row, place in enumerate(places) if place == key]


def test_rows_with_the_same_words_are_one_phrase_with_all_their_boxes(phrases):
    truth = true_phrases(phrases)
    places = set(zip(phrases.sentence_index, phrases.first, phrases.last, strict=True))
    assert len(truth.first) == len(places) < 30
    for number in range(len(truth.first)):
        rows = rows_of(phrases, truth, number)
        boxes = phrases.boxes[rows].astype(np.float64)
        around = [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
        np.testing.assert_array_equal(truth.around[number], around)
        own = truth.boxes[truth.phrase == number]
        assert sorted(map(tuple, own)) == sorted(map(tuple, boxes))
        assert {truth.types[number]} == {phrases.type[row] for row in rows}


def test_a_point_must_lie_in_any_box_and_a_random_one_has_their_area(phrases, random):
    truth = true_phrases(phrases)
    count = len(truth.first)
    points = random.uniform(size=[count, 2])
    points[0] = truth.boxes[0, :2]  # borders count
    points[1] = np.nan
    holds, covered = truth.holds(points), truth.covered()
    grid = (np.arange(400) + 0.5) / 400
    y, x = np.meshgrid(grid, grid, indexing="ij")
    for number in range(count):
        boxes = truth.boxes[truth.phrase == number]
        inside = [
            b[0] <= points[number, 0] <= b[2] and b[1] <= points[number, 1] <= b[3] for b in boxes
        ]
        assert holds[number] == any(inside)
        union = np.zeros(y.shape, bool)
        for top, left, bottom, right in boxes:
            union |= (y >= top) & (y <= bottom) & (x >= left) & (x <= right)
        assert covered[number] == pytest.approx(union.mean(), abs=0.005)
    assert holds[0]
    assert not holds[1]


def test_recalls_look_at_the_best_regions_and_their_overlap_with_the_box_around(phrases, random):
    truth = true_phrases(phrases)
    count, regions = len(truth.first), 14
    image = truth.sentence_index // 2
    boxes = random_boxes(random, 3, regions)
    boxes[:, 5] = truth.around[[np.flatnonzero(image == i)[0] for i in range(3)]]
    boxes[:, 0] = [0, 0, 1, 1]
    mask = np.arange(regions) < np.array([[14], [9], [4]])
    ranking = np.where(mask[image], random.normal(size=[count, regions]), -np.inf)
    ranking[-1] = -np.inf  # a phrase that was cut off
    points = random.uniform(size=[count, 2])
    overlaps = Candidates(boxes, mask, image).overlaps(truth)
    hits = readout_hits(truth, overlaps, points, ranking)
    references = reference_hits(truth, overlaps, np.zeros(count, bool))
    for n in range(count):
        good = [
            r
            for r in range(regions)
            if mask[image[n], r] and box_iou(boxes[image[n], r], truth.around[n]) >= 0.5
        ]
        assert references["ceiling"][n] == bool(good)
        best = [r for r in np.argsort(-ranking[n]) if np.isfinite(ranking[n, r])]
        for name, k in (("r1", 1), ("r5", 5), ("r10", 10)):
            assert hits[name][n] == bool(set(best[:k]) & set(good)), (n, name)
        area = np.prod(truth.around[n, 2:] - truth.around[n, :2])
        assert references["frame_r1"][n] == (area >= 0.5)
    np.testing.assert_array_equal(hits["pointing"], truth.holds(points))
    np.testing.assert_array_equal(
        references["centre_pointing"], truth.holds(np.full([count, 2], 0.5))
    )
    assert hits["r10"].any()
    assert not hits["r10"].all()


def test_boxes_around_two_regions_come_before_the_regions(phrases, random):
    truth = true_phrases(phrases)
    count = len(truth.first)
    assert count > 4
    overlaps = np.zeros([count, 12], bool)
    overlaps[:, 4] = True  # the fifth region
    ranking = np.tile(-np.arange(12.0), [count, 1])
    points = np.zeros([count, 2])
    boxes = np.full([count, 4], np.nan)
    boxes[0], boxes[1] = truth.around[0], [0, 0, 1e-3, 1e-3]
    hits = readout_hits(truth, overlaps, points, ranking, boxes)
    assert [hits["r1"][n] for n in range(3)] == [True, False, False]
    assert [hits["r5"][n] for n in range(3)] == [True, False, True]
    assert [hits["r10"][n] for n in range(3)] == [True, True, True]


def test_the_ceiling_of_several_things_counts_all_pairs_of_regions(phrases, random):
    truth = true_phrases(phrases)
    count, image = len(truth.first), truth.sentence_index // 2
    boxes, mask = random_boxes(random, 3, 9), np.arange(9) < np.array([[9], [6], [1]])
    asked = np.arange(count) % 4 > 0
    found = Candidates(boxes, mask, image).pairs_meet(truth, asked)
    for n in range(count):
        own = boxes[image[n]][mask[image[n]]]
        meets = [
            box_iou(np.array([*np.minimum(a, b)[:2], *np.maximum(a, b)[2:]]), truth.around[n])
            >= 0.5
            for a in own
            for b in own
        ]
        assert found[n] == (asked[n] and any(meets)), n
    assert found.any()
    overlaps = np.zeros([count, 9], bool)
    np.testing.assert_array_equal(reference_hits(truth, overlaps, found)["ceiling"], found)


def test_types_are_counted_each_and_a_phrase_of_two_types_in_both():
    found = by_type(["people", "vehicles/scene", "scene", "", "people"])
    assert {name: rows.nonzero()[0].tolist() for name, rows in found.items()} == {
        "people": [0, 4],
        "scene": [1, 2],
        "vehicles": [1],
    }
    assert by_type(["", ""]) == {}


def test_proposals_are_counted_from_the_first_with_the_frame(random):
    boxes, mask = random_boxes(random, 4, 20), np.ones([4, 20], bool)
    mask[2, 3:] = False
    image = np.repeat(np.arange(4), 6)
    true_boxes = random_boxes(random, 24)
    true_boxes[::4] = boxes[image[::4], [0, 12, 2, 5, 19, 1]]
    for threshold in (0.5, 0.7):
        found = proposal_hits(boxes, mask, true_boxes, image, threshold)
        assert list(found) == [str(count) for count in PROPOSALS]
        assert found["50"] is None
        for count in (10, 20):
            for n, box in enumerate(true_boxes):
                real = boxes[image[n], :count][mask[image[n], :count]]
                assert found[str(count)][n] == bool((box_iou(real, box) >= threshold).any())
    assert found["20"].sum() > found["10"].sum() > 0


def test_things_are_counted_once_an_image(phrases):
    again = Phrases(**{**vars(phrases), "object": np.arange(30, dtype=np.int32) // 2})
    image_index = np.arange(6) // 2
    boxes, image = true_things(again, image_index)
    pairs = {(image_index[s], o) for s, o in zip(again.sentence_index, again.object, strict=True)}
    assert len(boxes) == len(image) == len(pairs)


def test_evidence_gives_the_same_figures():
    hits = {"r1": np.array([True, False, True]), "random_pointing": np.array([0.5, 0.25, 0.0])}
    evidence = hit_evidence(hits, np.array([0, 0, 1]), 2)
    assert evidence["r1"].values(np.ones([1, 2]))[0] == pytest.approx(200 / 3)
    assert evidence["random_pointing"].values(np.array([[1, 0]]))[0] == pytest.approx(37.5)
