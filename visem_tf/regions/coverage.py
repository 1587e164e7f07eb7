"""Boxes that together are near to as many objects as possible.

Suppression looks at pairs: of two boxes that overlap, it drops one. With few boxes to keep, the
question is another one: which set has a box near to every object? The candidates of a detector say
where objects may be. The set is chosen for which the sum over all candidates of score ** 2 times
the closeness of the nearest kept box is largest. This sum is submodular, so that a greedy choice
reaches at least 1 - 1/e of the best one (Nemhauser et al., 1978).
"""

import tensorflow as tf

_FAR, _NEAR = 0.4, 0.8  # IoU at which a box counts nothing for a candidate, and fully


def select_covering(
    boxes: tf.Tensor, scores: tf.Tensor, num_boxes: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Keeps the boxes that cover the candidates best, beside the whole frame.

    Args:
        boxes: Candidates, float tensor [B, W, 4], `rel_yxyx`; they are clipped to the image.
        scores: Their scores between 0 and 1, float tensor [B, W].
        num_boxes: Number R of boxes to keep.

    Returns:
        Boxes float [B, R, 4], in the order of the choice; scores float [B, R]; and mask bool
        [B, R], False where there were fewer candidates. Such a box is zero, and its score is 0.
    """
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    closeness = _closeness(tf.expand_dims(boxes, 2), tf.expand_dims(boxes, 1))  # [B, W, W]
    weights = tf.expand_dims(tf.square(scores), 2)  # [B, W, 1]
    column = tf.range(num_boxes)
    index = tf.range(tf.shape(scores)[1])

    # With expand_dims, because TFLite has no indexing by tf.newaxis of more than one unknown axis.
    def keep_one(
        step: tf.Tensor,
        covered: tf.Tensor,
        taken: tf.Tensor,
        kept_boxes: tf.Tensor,
        kept_scores: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        gains = tf.nn.relu(closeness - tf.expand_dims(covered, 2))
        gain = tf.reduce_sum(weights * gains, axis=1)  # [B, W]
        best = tf.argmax(gain - 1e6 * taken, axis=1, output_type=tf.int32)  # [B]
        is_current = tf.equal(column, step)  # [R]
        box = tf.gather(boxes, best, batch_dims=1)  # [B, 4]
        score = tf.expand_dims(tf.gather(scores, best, batch_dims=1), 1)
        return (
            step + 1,
            tf.maximum(covered, tf.gather(closeness, best, axis=2, batch_dims=1)),
            taken + tf.cast(tf.equal(index, tf.expand_dims(best, 1)), tf.float32),
            tf.where(tf.expand_dims(is_current, 1), tf.expand_dims(box, 1), kept_boxes),
            tf.where(is_current, score, kept_scores),
        )

    batch, count = tf.shape(scores)[0], tf.shape(scores)[1]
    _, _, _, kept_boxes, kept_scores = tf.while_loop(
        lambda step, *_: step < tf.minimum(num_boxes, count),
        keep_one,
        (
            tf.constant(0),
            _closeness(boxes, tf.constant([[[0.0, 0.0, 1.0, 1.0]]])),
            tf.zeros_like(scores),
            tf.zeros([batch, num_boxes, 4]),
            tf.zeros([batch, num_boxes]),
        ),
    )
    mask = tf.broadcast_to(column < count, [batch, num_boxes])
    return kept_boxes, kept_scores, mask


def _closeness(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Computes the nearness of boxes [..., 4] to others [..., 4], between 0 and 1."""
    top_left = tf.maximum(boxes[..., :2], others[..., :2])
    bottom_right = tf.minimum(boxes[..., 2:], others[..., 2:])
    shared = tf.reduce_prod(tf.nn.relu(bottom_right - top_left), axis=-1)
    area, other_area = (
        tf.reduce_prod(each[..., 2:] - each[..., :2], axis=-1) for each in (boxes, others)
    )
    iou = tf.math.divide_no_nan(shared, area + other_area - shared)
    return tf.clip_by_value((iou - _FAR) / (_NEAR - _FAR), 0.0, 1.0)
