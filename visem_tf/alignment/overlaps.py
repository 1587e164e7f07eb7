"""The boxes that are expected to overlap most with that of a phrase."""

import tensorflow as tf

PAIRS = 32
"""The pairs of regions that `boxes_around_two` compares: those with the largest p."""

_MAX_IOU = 0.05
"""Two regions that overlap more than this may be one thing."""


def masked_softmax(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Computes the softmax over the last axis where the mask is True; 0 elsewhere.

    All values are 0 if the mask is nowhere True.
    """
    shares = tf.nn.softmax(tf.where(mask, logits, -float("inf")))
    return tf.where(mask, shares, 0.0)


def expected_overlaps(weights: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Computes Σ_i p_i IoU(i, j) for every region j.

    Args:
        weights: p of K phrases in each image, float tensor [N, K, R].
        boxes: Float tensor [N, R, 4], `rel_yxyx`.

    Returns:
        Float tensor [N, K, R].
    """
    import keras_cv

    overlaps = keras_cv.bounding_box.compute_iou(boxes, boxes, "yxyx")  # [N, R, R]
    return tf.matmul(weights, overlaps)


def boxes_around_two(
    logits: tf.Tensor, boxes: tf.Tensor, region_mask: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the boxes of N phrases that name several things, each in its own image.

    Pairs of regions i <= j that hardly overlap are compared, each with the box around both. The
    pair that is expected to overlap most is chosen:

        argmax_ij Σ_kl p_kl IoU(ij, kl)     p = softmax_ij((e_i + e_j) / 2)

    A pair may be one region twice, so that a group with a region of its own gets that one.

    Args:
        logits: e, the logits of the regions, float tensor [N, R].
        boxes: Float tensor [N, R, 4], `rel_yxyx`.
        region_mask: Boolean tensor [N, R], True for real regions.

    Returns:
        The box around both regions of the pair, float tensor [N, 4]; and the one of them with the
        larger logit, int32 tensor [N]. They have no meaning for an image without regions.

    Example:
        >>> boxes = tf.constant([[[0.0, 0, 1, 1], [0.2, 0.1, 0.4, 0.3], [0.2, 0.7, 0.4, 0.9]]])
        >>> box, region = boxes_around_two(
        ...     tf.constant([[0.0, 8.9, 9.0]]), boxes, tf.ones([1, 3], tf.bool))
        >>> box.numpy(), region.numpy()
        (array([[0.2, 0.1, 0.4, 0.9]], dtype=float32), array([2], dtype=int32))
    """
    import keras_cv

    count = tf.shape(logits)[1]
    first, second = tf.range(count)[:, tf.newaxis], tf.range(count)
    apart = keras_cv.bounding_box.compute_iou(boxes, boxes, "yxyx") <= _MAX_IOU
    allowed = (apart & (first < second)) | tf.equal(first, second)
    allowed &= region_mask[:, :, tf.newaxis] & region_mask[:, tf.newaxis]
    values = (logits[:, :, tf.newaxis] + logits[:, tf.newaxis]) / 2
    values = tf.where(allowed, values, -float("inf"))
    flat = tf.reshape(values, [-1, count * count])
    best, place = tf.math.top_k(flat, tf.minimum(PAIRS, count * count))
    members = tf.stack([place // count, place % count], axis=2)  # [N, P, 2]
    corners = tf.gather(boxes, members, batch_dims=1)  # [N, P, 2, 4]
    low = tf.reduce_min(corners[..., :2], axis=2)
    around = tf.concat([low, tf.reduce_max(corners[..., 2:], axis=2)], axis=2)
    real = best > -float("inf")
    expected = expected_overlaps(masked_softmax(best, real)[:, tf.newaxis], around)[:, 0]
    chosen = tf.argmax(tf.where(real, expected, -1.0), axis=1, output_type=tf.int32)
    members = tf.gather(members, chosen, batch_dims=1)  # [N, 2]
    better = tf.argmax(tf.gather(logits, members, batch_dims=1), axis=1, output_type=tf.int32)
    return tf.gather(around, chosen, batch_dims=1), tf.gather(members, better, batch_dims=1)
