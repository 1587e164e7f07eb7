import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.models.global_batch import (
    all_reduce_sum,
    apply_global_gradients,
    gather,
    replica_count,
)


class Linear(keras.Model):
    def __init__(self):
        super().__init__()
        self.kernel = self.add_weight(shape=(2,), initializer="zeros", name="kernel")


def step(model, slope, **options):
    """One optimizer step on the loss `slope . kernel`."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.constant(slope) * model.kernel)
    apply_global_gradients(model, tape, loss, **options)
    return model.kernel.numpy().tolist()


def test_one_replica_needs_nothing():
    value = tf.constant([1, 2])
    assert replica_count() == 1
    assert gather(value) is value
    assert all_reduce_sum(value) is value


def test_gradients_are_clipped_element_wise_and_scaled_after_it():
    model = Linear()
    model.compile(optimizer=keras.optimizers.SGD(1.0))
    assert step(model, [1.0, -9.0], clip_value=5.0, gradient_scale=0.5) == [-0.5, 2.5]
    assert step(model, [1.0, -9.0]) == [-1.5, 11.5]


def test_clipping_sees_true_gradients_where_the_loss_is_scaled():
    model = Linear()
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=1024.0)
    model.compile(optimizer=scaled)
    assert step(model, [1.0, -9.0], clip_value=5.0) == [-1.0, 5.0]
    # An overflow is not clipped to 5, but seen: no step is taken, the scale is halved.
    assert step(model, [float("inf"), 1.0], clip_value=5.0) == [-1.0, 5.0]
    assert float(scaled.dynamic_scale) == 512.0


def test_repeated_rows_of_an_embedding_are_summed_before_clipping():
    class Rows(keras.Model):
        def __init__(self):
            super().__init__()
            self.rows = keras.layers.Embedding(3, 1, embeddings_initializer="zeros")
            self.rows.build((None,))

    model = Rows()
    model.compile(optimizer=keras.optimizers.SGD(1.0))
    with tf.GradientTape() as tape:
        loss = 3 * tf.reduce_sum(model.rows(tf.constant([1, 1, 2])))
    apply_global_gradients(model, tape, loss, clip_value=5.0)
    np.testing.assert_array_equal(model.rows.embeddings, [[0.0], [-5.0], [-3.0]])


GATHER = """
import numpy as np
from visem_tf.models.global_batch import all_reduce_sum, gather, replica_count

@tf.function
def run():
    def replica():  # 1 row of length 2, and 2 rows of length 3
        context = tf.distribute.get_replica_context()
        rows = 1 + tf.cast(context.replica_id_in_sync_group, tf.int32)
        value = tf.fill(tf.stack([rows, rows + 1, 1]), tf.cast(rows, tf.float32))
        with tf.GradientTape() as tape:
            tape.watch(value)
            whole = gather(value)
            loss = tf.reduce_sum(tf.range(9.0) * tf.reshape(whole, [9])) / replica_count()
        mask = gather(tf.fill([rows], rows > 1))
        return whole, tape.gradient(loss, value), mask, all_reduce_sum(rows)
    return strategy.run(replica)

whole, gradient, mask, total = map(strategy.experimental_local_results, run())
for replica in range(2):
    assert whole[replica].numpy()[..., 0].tolist() == [[1, 1, 0], [2, 2, 2], [2, 2, 2]]
    assert mask[replica].numpy().tolist() == [False, True, True]
    assert total[replica] == 3
assert gradient[0].numpy()[..., 0].tolist() == [[0, 1]]
assert gradient[1].numpy()[..., 0].tolist() == [[3, 4, 5], [6, 7, 8]]
"""


@pytest.mark.slow
def test_gather_keeps_the_order_and_sends_gradients_home(run_on_two_devices):
    run_on_two_devices(GATHER)
