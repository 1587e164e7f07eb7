"""The pieces of a training step whose result does not depend on the number of replicas.

A custom Keras `train_step` runs once in every replica of a `tf.distribute` strategy, each with its
own slice of the global batch. Both models of the paper need more than that slice: the ranking loss
compares all pairs of the *global* batch, and the mean over words divides by the *global* count of
words. Every replica therefore computes a *share* of the global loss, such that the shares of all
replicas add up to it, and `apply_global_gradients` does the rest. All functions work without a
strategy too; there is one replica then.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from visem_tf.runtime.workers import num_workers


class GlobalBatchModel(keras.Model):
    """A Keras model whose `fit` takes batches of any kind under a `tf.distribute` strategy."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Shows the model a batch, so that its weights are made before the replicas start.

        Keras shows it the mean of the replicas' slices, which fails for masks (bool) and for
        slices of unequal size; this shows it the first slice.
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
        """How many steps the optimizer has taken; None before `compile`.

        A model that is trained as a part of another takes the other's.
        """
        optimizer = getattr(self, "optimizer", None)
        return None if optimizer is None else tf.convert_to_tensor(optimizer.iterations)

    def _make_function(self, step_function: Callable[..., Any]) -> Any:
        """Gives metrics an axis where there are several workers.

        Keras takes the mean of the workers' metrics along it, and fails for scalars without one.
        """
        if num_workers(self.distribute_strategy) == 1:
            return super()._make_function(step_function)

        def with_axis(data: Any) -> Any:
            return tf.nest.map_structure(lambda value: value[tf.newaxis], step_function(data))

        return super()._make_function(with_axis)


def replica_count() -> int:
    """The number of replicas R that take part in the current step."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def all_reduce_sum(value: tf.Tensor) -> tf.Tensor:
    """The sum of `value` over all replicas, in every replica.

    Args:
      value: a tensor, or a nest of tensors, of one shape in all replicas.
    """
    if replica_count() == 1:
        return value
    value = tf.nest.map_structure(_placed, value)
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def _placed(value: tf.Tensor) -> tf.Tensor:
    """The value on a device, where several workers need to know it; some operations name none."""
    return tf.identity(value)


def gather(value: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas below each other, in the order of the global batch.

    Replicas may hold different numbers of rows (a ragged last batch), and may have padded axis 1 to
    different lengths: the shorter ones are padded with zeros (False). Gradients flow back to every
    replica's own rows, summed over the replicas.

    Args:
      value: a tensor [B of this replica, ...]; shapes may differ in the first two axes only.

    Returns:
      The same in every replica: [B of the global batch, ...].
    """
    if replica_count() == 1:
        return value
    context = tf.distribute.get_replica_context()
    if value.dtype == tf.bool:  # collectives know numbers only
        return tf.cast(gather(tf.cast(value, tf.int32)), tf.bool)
    if value.shape.rank > 1:
        lengths = context.all_gather(_placed(tf.shape(value)[1:2]), axis=0)
        missing = tf.reduce_max(lengths) - tf.shape(value)[1]
        value = tf.pad(value, [[0, 0], [0, missing]] + [[0, 0]] * (value.shape.rank - 2))
    whole = context.all_gather(_placed(value), axis=0)
    return tf.ensure_shape(whole, [None, None, *value.shape[2:]][: value.shape.rank])


def apply_global_gradients(
    model: keras.Model,
    tape: tf.GradientTape,
    loss_share: tf.Tensor,
    clip_value: float | None = None,
    gradient_scale: tf.Tensor | float = 1.0,
) -> None:
    """Takes one optimizer step down the gradient of the global loss.

    Gradients are summed over the replicas first and clipped element-wise after it (paper,
    section "Optimization": at 5), which the `clipvalue` of a Keras optimizer would do in each
    replica before the sum. Keras sums what it is given over the replicas once more, hence the
    division by R. Optimizers that scale the loss (mixed_float16) are honoured: clipping sees the
    true gradients, and overflows stay visible to the optimizer.

    Args:
      model: a compiled model; its trainable variables are updated.
      tape: the tape that recorded `loss_share`.
      loss_share: scalar; its sum over the replicas is the global loss. A loss that every replica
        computes in full is divided by `replica_count()`.
      clip_value: largest absolute value of an element of the global gradient; None: no clipping.
      gradient_scale: factor on the clipped gradient, as the optimizer sees it.
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
    gradients = all_reduce_sum(gradients)
    if (norm := getattr(model, "gradient_norm", None)) is not None:  # somebody watches
        norm.update([gradient / tf.cast(loss_scale, gradient.dtype) for gradient in gradients])
    if clip_value is not None:
        limit = tf.cast(clip_value * loss_scale, tf.float32)
        clipped = [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # This optimizer looks for overflows, which clipping would hide.
            clipped = [
                tf.where(tf.math.is_finite(whole), cut, whole)
                for whole, cut in zip(gradients, clipped, strict=True)
            ]
        gradients = clipped
    factor = tf.cast(gradient_scale, loss_share.dtype) / replica_count()
    gradients = [gradient * tf.cast(factor, gradient.dtype) for gradient in gradients]
    optimizer.apply(gradients, variables)
