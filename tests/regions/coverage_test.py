import numpy as np
import tensorflow as tf

from visem_tf.metrics.regions import box_iou
from visem_tf.regions.coverage import select_covering


def random_candidates(images: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, [images, count, 2, 2]), axis=2)
    boxes = corners.reshape(images, count, 4).astype(np.float32)
    return boxes, rng.uniform(0.05, 0.95, [images, count]).astype(np.float32)


def greedy_choice(boxes: np.ndarray, scores: np.ndarray, count: int) -> list[int]:
    """The definition, one candidate and one box at a time."""

    def closeness(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.clip((box_iou(a, b) - 0.4) / 0.4, 0, 1))

    def objective(chosen: list[np.ndarray]) -> float:
        return sum(
            score**2 * max(closeness(box, other) for other in chosen)
            for box, score in zip(boxes, scores, strict=True)
        )

    frame, kept = np.array([0.0, 0.0, 1.0, 1.0]), []
    for _ in range(count):
        before = [frame, *(boxes[k] for k in kept)]
        values = [-1.0 if k in kept else objective([*before, boxes[k]]) for k in range(len(boxes))]
        kept.append(int(np.argmax(values)))
    return kept


def test_the_greedy_choice_is_that_of_the_definition():
    boxes, scores = random_candidates(3, 12, seed=0)
    kept_boxes, kept_scores, mask = select_covering(tf.constant(boxes), tf.constant(scores), 5)
    assert mask.numpy().all()
    for image in range(3):
        expected = greedy_choice(boxes[image], scores[image], 5)
        np.testing.assert_allclose(kept_boxes[image], boxes[image][expected])
        np.testing.assert_allclose(kept_scores[image], scores[image][expected])


def test_every_object_gets_a_box_before_one_gets_two():
    """Suppression at 0.7 would keep both boxes of the first object."""
    boxes = np.array([[[0, 0, 0.4, 0.4], [0, 0, 0.4, 0.34], [0.6, 0.6, 0.9, 0.9]]], np.float32)
    scores = np.array([[0.9, 0.85, 0.4]], np.float32)
    kept, _, _ = select_covering(tf.constant(boxes), tf.constant(scores), 2)
    np.testing.assert_allclose(kept[0], boxes[0, [0, 2]])


def test_the_frame_covers_already():
    boxes = np.array([[[0, 0, 1, 1], [0.2, 0.2, 0.5, 0.5]]], np.float32)
    kept, _, _ = select_covering(tf.constant(boxes), tf.constant([[0.9, 0.1]]), 1)
    np.testing.assert_allclose(kept[0, 0], boxes[0, 1])


def test_no_box_is_kept_twice_and_missing_ones_are_masked():
    boxes, scores = random_candidates(2, 4, seed=1)
    kept, kept_scores, mask = select_covering(tf.constant(boxes), tf.constant(scores), 6)
    np.testing.assert_array_equal(mask, [[True] * 4 + [False] * 2] * 2)
    for image in range(2):
        assert len(np.unique(kept[image, :4].numpy(), axis=0)) == 4
    np.testing.assert_array_equal(kept[:, 4:], np.zeros([2, 2, 4]))
    np.testing.assert_array_equal(kept_scores[:, 4:], np.zeros([2, 2]))
