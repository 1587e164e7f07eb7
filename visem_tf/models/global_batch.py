"""Training steps whose result does not depend on the number of replicas.

A custom Keras `train_step` runs in every replica of a `tf.distribute` strategy, each with its own
slice of the global batch. Both models of the paper need more than this slice: the ranking loss
compares all pairs of the *global* batch, and the mean over words divides by the *global* number of
words. Every replica therefore computes a *share* of the global loss, such that the shares of all
replicas add up to the loss, and `apply_global_gradients` does the rest. All functions also work
without a strategy; there is one replica then.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from visem_tf.runtime.workers import num_workers


class GlobalBatchModel(keras.Model):
    """A Keras model whose `fit` takes batches of any kind under a `tf.distribute` strategy."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Builds the model with the first replica's slice of a batch, before the replicas start.

        Keras would take the mean of the slices of all replicas, which fails for boolean masks and
        for slices of unequal size.
        """
        strategy = self.distribute_strategy
        if iterator is not None and strategy.num_replicas_in_sync > 1:
            for _, _, batches in iterator:
                data_batch = tf.nest.map_structure(
                    lambda value: strategy.experimental_local_results(value)[0], next(batches)
                )
                break
            iterator = None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def steps_taken(self) -> tf.Tensor | None:
        """Returns the number of steps that the optimizer has taken, or None before `compile`."""
        optimizer = getattr(self, "optimizer", None)
        return None if optimizer is None else tf.convert_to_tensor(optimizer.iterations)

    def _make_function(self, step_function: Callable[..., Any]) -> Any:
        """Adds an axis to the metrics if there are several workers.

        Keras takes the mean of the workers' metrics along this axis, and fails for scalars.
        """
        if num_workers(self.distribute_strategy) == 1:
            return super()._make_function(step_function)

        def with_axis(data: Any) -> Any:
            return tf.nest.map_structure(lambda value: value[tf.newaxis], step_function(data))

        return super()._make_function(with_axis)


def replica_count() -> int:
    """Returns the number of replicas R that take part in the current step."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def all_reduce_sum(value: tf.Tensor) -> tf.Tensor:
    """Computes the sum of a value over all replicas.

    Args:
        value: A tensor, or a nest of tensors, of the same shape in all replicas.
    """
    if replica_count() == 1:
        return value
    value = tf.nest.map_structure(tf.identity, value)  # several workers need a placed tensor
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def gather(value: tf.Tensor) -> tf.Tensor:
    """Concatenates the rows of all replicas in the order of the global batch.

    Replicas may have different numbers of rows (in a smaller last batch) and different lengths of
    axis 1: shorter ones are padded with zeros (False). Gradients flow back to the rows of each
    replica, summed over the replicas.

    Args:
        value: A tensor [B of this replica, ...]. Shapes may differ in the first two axes only.

    Returns:
        A tensor [B of the global batch, ...], the same in every replica.
    """
    if replica_count() == 1:
        return value
    context = tf.distribute.get_replica_context()
    if value.dtype == tf.bool:  # collectives support numbers only
        return tf.cast(gather(tf.cast(value, tf.int32)), tf.bool)
    if value.shape.rank > 1:
        lengths = context.all_gather(tf.identity(tf.shape(value)[1:2]), axis=0)
        missing = tf.reduce_max(lengths) - tf.shape(value)[1]
        value = tf.pad(value, [[0, 0], [0, missing]] + [[0, 0]] * (value.shape.rank - 2))
    whole = context.all_gather(tf.identity(value), axis=0)
    return tf.ensure_shape(whole, [None, None, *value.shape[2:]][: value.shape.rank])


def at_least_one(rows: tf.Tensor, axes: int = 1) -> tf.Tensor:
    """Adds a row of zeros if a replica has no rows, for convolutions.

    On a CPU, TensorFlow gives the convolution of an empty batch the shape of its input.

    Args:
        rows: A tensor [B of this replica, ...].
        axes: Number of first axes that grow by one if B is 0.

    Example:
        >>> at_least_one(tf.ones([0, 3])).shape, at_least_one(tf.ones([2, 3])).shape
        (TensorShape([1, 3]), TensorShape([2, 3]))
    """
    missing = tf.cast(tf.equal(tf.shape(rows)[0], 0), tf.int32)
    paddings = [[0, missing]] * axes + [[0, 0]] * (rows.shape.rank - axes)
    return tf.ensure_shape(tf.pad(rows, paddings), [*[None] * axes, *rows.shape[axes:]])


def apply_global_gradients(
    model: keras.Model,
    tape: tf.GradientTape,
    loss_share: tf.Tensor,
    clip_value: float | None = None,
    gradient_scale: tf.Tensor | float = 1.0,
    examples: tf.Tensor | None = None,
    keep_zeros: bool = False,
) -> None:
    """Takes one optimizer step along the gradient of the global loss.

    Gradients are summed over the replicas first and then clipped element-wise (at 5 in the paper,
    section 3.3); the `clipvalue` of a Keras optimizer would clip in each replica before the sum.
    Keras sums the gradients over the replicas once more, hence the division by R. Optimizers that
    scale the loss (mixed_float16) are supported: the unscaled gradients are clipped, and overflows
    stay visible to the optimizer.

    Args:
        model: Compiled model whose trainable variables are updated.
        tape: Tape that recorded `loss_share`.
        loss_share: Share of the global loss, a scalar; the sum over the replicas is the global
            loss. A loss that every replica computes in full is divided by `replica_count()`.
        clip_value: Largest absolute value of an element of the global gradient. None means no
            clipping.
        gradient_scale: Factor of the clipped gradient.
        examples: Tensor whose first axis are the examples of this replica. A replica without any
            contributes no gradient. Needed by models with convolutions, see `at_least_one`.
        keep_zeros: Whether weights that are zero have no gradient, so that they stay zero with
            optimizers without weight decay.
    """
    variables = model.trainable_variables
    optimizer = model.optimizer
    loss_scale = optimizer.scale_loss(tf.ones_like(loss_share))
    gradients = tape.gradient(
        loss_share,
        [variable.value for variable in variables],
        output_gradients=loss_scale,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    # Rows of an embedding that occur twice must be added up before they can be clipped.
    gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    if examples is not None:
        any_example = tf.shape(examples)[0] > 0
        gradients = [tf.where(any_example, gradient, 0) for gradient in gradients]
    gradients = all_reduce_sum(gradients)
    if keep_zeros:
        gradients = [
            tf.where(tf.equal(variable.value, 0), tf.zeros_like(gradient), gradient)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
    if (norm := getattr(model, "gradient_norm", None)) is not None:  # set by a recorder
        norm.update([gradient / tf.cast(loss_scale, gradient.dtype) for gradient in gradients])
    if clip_value is not None:
        limit = tf.cast(clip_value * loss_scale, tf.float32)
        clipped = [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # This optimizer detects overflows, which clipping would hide.
            clipped = [
                tf.where(tf.math.is_finite(whole), cut, whole)
                for whole, cut in zip(gradients, clipped, strict=True)
            ]
        gradients = clipped
    factor = tf.cast(gradient_scale, loss_share.dtype) / replica_count()
    gradients = [gradient * tf.cast(factor, gradient.dtype) for gradient in gradients]
    optimizer.apply(gradients, variables)
