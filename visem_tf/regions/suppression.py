"""Non-maximum suppression: of boxes that overlap too much, the best one is kept.

It is a loop over the boxes to keep of elementary operations. It gives the results of
`tf.image.combined_non_max_suppression`, which TFLite does not have.
"""

import tensorflow as tf


def suppress(
    boxes: tf.Tensor, scores: tf.Tensor, num_boxes: int, nms_iou: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Keeps the best boxes that do not overlap too much.

    Args:
        boxes: float tensor [B, W, 4], `rel_yxyx`; they are clipped to the image.
        scores: float tensor [B, W], all finite. Of equal scores the first is the better.
        num_boxes: Number R of boxes to keep.
        nms_iou: Of two boxes whose intersection over union exceeds this, only the better is kept.

    Returns:
        Boxes float [B, R, 4], the best first; scores float [B, R]; and mask bool [B, R], False
        where fewer boxes were left. Such a box is zero, and its score less than all others.

    Example:
        >>> boxes = tf.constant([[[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.1, 0.1]]], tf.float32)
        >>> suppress(boxes, tf.constant([[1.0, 3.0, 2.0]]), num_boxes=3, nms_iou=0.5)[1].numpy()
        array([[3., 2., 0.]], dtype=float32)
    """
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=2)  # [B, W]
    areas = (ymax - ymin) * (xmax - xmin)
    # Not minus infinity, for which a conversion to 8 bits has no range.
    never = tf.reduce_min(scores, axis=1, keepdims=True) - 1.0  # [B, 1]
    column = tf.range(num_boxes)
    index = tf.range(tf.shape(scores)[1])

    def keep_one(
        step: tf.Tensor, left: tf.Tensor, kept_boxes: tf.Tensor, kept_scores: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        best = tf.argmax(left, axis=1, output_type=tf.int32)  # [B]
        box = tf.gather(boxes, best, batch_dims=1)  # [B, 4]
        height = tf.minimum(ymax, box[:, 2:3]) - tf.maximum(ymin, box[:, 0:1])
        width = tf.minimum(xmax, box[:, 3:4]) - tf.maximum(xmin, box[:, 1:2])
        shared = tf.nn.relu(height) * tf.nn.relu(width)
        area = (box[:, 2:3] - box[:, 0:1]) * (box[:, 3:4] - box[:, 1:2])
        overlaps = shared > nms_iou * (area + areas - shared)
        dropped = overlaps | tf.equal(index, best[:, tf.newaxis])
        is_current = tf.equal(column, step)  # [R]
        score = tf.reduce_max(left, axis=1)[:, tf.newaxis]
        return (
            step + 1,
            tf.where(dropped, never, left),
            tf.where(is_current[:, tf.newaxis], box[:, tf.newaxis], kept_boxes),
            tf.where(is_current, score, kept_scores),
        )

    batch = tf.shape(scores)[0]
    _, _, kept_boxes, kept_scores = tf.while_loop(
        lambda step, *_: step < num_boxes,
        keep_one,
        (
            tf.constant(0),
            tf.cast(scores, tf.float32),
            tf.zeros([batch, num_boxes, 4]),
            tf.zeros([batch, num_boxes]),
        ),
    )
    mask = kept_scores > never
    return tf.where(mask[..., tf.newaxis], kept_boxes, 0.0), kept_scores, mask
