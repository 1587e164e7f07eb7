"""DenseCap's mean average precision against cases worked out by hand."""

import numpy as np
import pytest

from visem_tf.metrics.dense import (
    IOU_THRESHOLDS,
    METEOR_THRESHOLDS,
    DenseCaptions,
    dense_caption_map,
    merge_boxes,
)

LEFT, RIGHT, ALL = [0.0, 0.0, 1.0, 0.4], [0.0, 0.6, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]


def captions(boxes, texts, scores=None):
    scores = None if scores is None else np.array(scores, float)
    return DenseCaptions(np.array(boxes, float).reshape(-1, 4), texts, scores)


def common_words(said, gold):
    """Stands in for METEOR: the F1 of different words with the best reference."""

    def f1(text, reference):
        words, others = set(text.split()), set(reference.split())
        return 2 * len(words & others) / (len(words) + len(others))

    return np.array([max(f1(s, r) for r in texts) for s, texts in zip(said, gold, strict=True)])


def of_one_image(truth, predicted):
    return dense_caption_map([predicted], [truth], common_words)


def test_all_right():
    truth = captions([LEFT, RIGHT], ["a dog", "a cat"])
    found = of_one_image(truth, captions([RIGHT, LEFT], ["a cat", "a dog"], [0.1, 0.9]))
    assert found == {"map": 100, "detection_map": 100, "true_boxes": 2, "predicted_boxes": 2}


def test_half_found_first_then_a_false_one():
    """Recall 0.5 at precision 1: 51 of the 101 levels of recall, 0 to 0.5, are reached."""
    truth = captions([LEFT, RIGHT], ["a dog", "a cat"])
    found = of_one_image(truth, captions([LEFT, LEFT], ["a dog", "a dog"], [0.9, 0.5]))
    assert found["map"] == pytest.approx(100 * 51 / 101)
    assert found["detection_map"] == pytest.approx(100 * 51 / 101)


def test_a_true_box_is_found_once_and_by_the_surest():
    """The surest goes to the true box, says something else, and takes it from the second."""
    truth = captions([LEFT], ["a dog"])
    found = of_one_image(truth, captions([LEFT, LEFT], ["ten cats", "a dog"], [0.9, 0.5]))
    assert found["map"] == 0
    assert found["detection_map"] == 100


def test_a_false_one_that_is_surer_halves_the_precision():
    truth = captions([LEFT], ["a dog"])
    found = of_one_image(truth, captions([RIGHT, LEFT], ["a dog", "a dog"], [0.9, 0.5]))
    assert found["map"] == pytest.approx(50)
    assert found["detection_map"] == pytest.approx(50)


def test_thresholds_of_the_overlap():
    """IoU 0.4 of the whole picture with its left part: right at 0.3 and 0.4 of five thresholds."""
    found = of_one_image(captions([ALL], ["a dog"]), captions([LEFT], ["a dog"], [1.0]))
    assert found["detection_map"] == pytest.approx(100 * 2 / 5)
    assert found["map"] == pytest.approx(100 * 2 / 5)


def test_thresholds_of_the_text():
    """With a METEOR of 0.15 a text passes 0, 0.05 and 0.1, but not 0.15 itself."""
    truth, predicted = captions([LEFT], ["a dog"]), captions([LEFT], ["x"], [1.0])
    found = dense_caption_map([predicted], [truth], lambda said, gold: np.full(len(said), 0.15))
    assert found["map"] == pytest.approx(100 * 3 / 6)
    found = dense_caption_map([predicted], [truth], lambda said, gold: np.zeros(len(said)))
    assert found["map"] == 0  # METEOR must be above 0, even at the threshold 0


def test_boxes_of_one_thing_are_merged_with_their_texts():
    near = [0.0, 0.0, 1.0, 0.44]
    boxes, texts = merge_boxes(captions([LEFT, RIGHT, near], ["a dog", "a cat", "a black dog"]))
    np.testing.assert_allclose(boxes, [[0, 0, 1, 0.42], RIGHT])
    assert texts == [["a dog", "a black dog"], ["a cat"]]
    found = of_one_image(
        captions([LEFT, near], ["a dog", "a black dog"]),
        captions([LEFT], ["a black dog"], [1.0]),
    )
    assert (found["true_boxes"], found["map"]) == (1, 100)


def test_confidence_counts_over_all_pictures():
    """One true box a picture; the false prediction of the second is the surest of all."""
    truths = [captions([LEFT], ["a dog"]), captions([LEFT], ["a dog"])]
    predictions = [captions([LEFT], ["a dog"], [0.5]), captions([RIGHT], ["a dog"], [0.9])]
    found = dense_caption_map(predictions, truths, common_words)
    assert found["map"] == pytest.approx(100 * 0.5 * 51 / 101)


def test_nothing_to_find_and_nothing_predicted():
    empty = captions([], [])
    nothing = captions([], [], [])
    assert of_one_image(empty, captions([LEFT], ["a"], [1.0]))["map"] is None
    assert of_one_image(captions([LEFT], ["a"]), nothing)["map"] == 0
    both = dense_caption_map(
        [captions([LEFT], ["a dog"], [0.5]), captions([LEFT], ["a dog"], [0.9])],
        [captions([LEFT], ["a dog"]), empty],
        common_words,
    )
    assert both["map"] == pytest.approx(50)
    with pytest.raises(ValueError, match="a score for every box"):
        dense_caption_map([captions([LEFT], ["a"])], [empty])
    with pytest.raises(ValueError, match="of 1 images, truths of 2"):
        dense_caption_map([nothing], [empty, empty])


def loops(predictions, truths, text_scorer):
    """The definition, a prediction and a threshold at a time."""

    def iou(a, b):
        height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        if height <= 0 or width <= 0:
            return 0.0
        both = height * width
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    records, total = [], 0
    for predicted, truth in zip(predictions, truths, strict=True):
        boxes, texts = merge_boxes(truth)
        total += len(boxes)
        used = set()
        for n in sorted(range(len(predicted.boxes)), key=lambda n: -predicted.scores[n]):
            overlaps = [iou(predicted.boxes[n], box) for box in boxes]
            best = max(range(len(boxes)), key=overlaps.__getitem__, default=-1)
            if best < 0 or overlaps[best] == 0:
                records.append((predicted.scores[n], 0.0, False, 0.0))
                continue
            text = text_scorer([predicted.texts[n]], [texts[best]])[0]
            records.append((predicted.scores[n], overlaps[best], best not in used, text))
            used.add(best)
    records.sort(key=lambda record: -record[0])
    values = []
    for least_iou in IOU_THRESHOLDS:
        for least_text in METEOR_THRESHOLDS:
            hits, points = 0, []
            for n, (_, overlap, first, text) in enumerate(records, start=1):
                hits += overlap >= least_iou and first and text > least_text
                points.append((hits / total, hits / n))
            levels = [
                max((p for r, p in points if r >= level), default=0.0)
                for level in np.linspace(0, 1, 101)
            ]
            values.append(np.mean(levels))
    return 100 * np.mean(values)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_loops(seed):
    rng = np.random.default_rng(seed)

    def some(count, scores):
        corner = rng.random([count, 2]) * 0.6
        boxes = np.concatenate([corner, corner + 0.1 + 0.3 * rng.random([count, 2])], axis=1)
        texts = [" ".join(rng.choice(list("abcde"), 3)) for _ in range(count)]
        return DenseCaptions(boxes, texts, rng.permutation(count) + seed if scores else None)

    predictions = [some(int(n), True) for n in rng.integers(0, 30, 6)]
    offsets = rng.random(6)  # no two predictions are equally sure
    predictions = [
        DenseCaptions(p.boxes, p.texts, p.scores + offset)
        for p, offset in zip(predictions, offsets, strict=True)
    ]
    truths = [some(int(n), False) for n in rng.integers(0, 9, 6)]

    found = dense_caption_map(predictions, truths, common_words)["map"]
    assert found == pytest.approx(loops(predictions, truths, common_words))


def test_without_a_text_scorer_only_boxes_are_measured():
    truth = captions([LEFT, RIGHT], ["a dog", "a cat"])
    found = dense_caption_map([captions([LEFT], ["x"], [0.9])], [truth])
    assert found["map"] is None
    assert found["detection_map"] == pytest.approx(100 * 51 / 101)
