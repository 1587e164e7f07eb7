"""The alignment model on two devices: the same weights and metrics as on one."""

import pytest

ONE_OR_TWO_REPLICAS = """
import keras, numpy as np
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder

random = np.random.default_rng(0)
size = 11  # batches of 5, 5 and 1: replicas get 3 and 2 pairs, at last 1 and none
token_ids = random.integers(4, 20, (size, 5), np.int32)
token_ids[np.arange(5) >= random.integers(1, 6, (size, 1))] = 0
data = {
    "region_features": 3 * random.normal(size=(size, 3, 9)).astype(np.float32),
    "region_mask": np.arange(3) < random.integers(1, 4, (size, 1)),
    "token_ids": token_ids,
    "image_ids": np.array([0, 1, 2, 0, *range(4, size)]),  # pairs of one image in two replicas
    "swapped_ids": np.where(token_ids == 0, 0, random.integers(4, 20, (2, size, 5), np.int32)),
}
data["swapped_ids"] = data["swapped_ids"].transpose(1, 0, 2)
data["swapped_ids"][3] = 0

def train(strategy, optimizer, **options):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = AlignmentModel(
            RegionEncoder(16), SentenceEncoder(20, 16, 12, 10), clip_value=0.5, **options
        )
        model.compile(optimizer=optimizer(), run_eagerly=strategy.num_replicas_in_sync == 1)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(5)
    history = model.fit(dataset, epochs=2, verbose=0).history
    model.run_eagerly = True
    logs = model.evaluate(dataset, verbose=0, return_dict=True)
    return [weight.numpy() for weight in model.weights], history, logs

def sgd():
    return keras.optimizers.SGD(0.01, momentum=0.9)

for optimizer, options in (
    (sgd, {"loss": "hinge_max", "hinge_sum_steps": 2}),  # the sum of all, and then the hardest
    (
        lambda: keras.optimizers.Adam(0.001),
        {"loss": "infonce", "score": "attention", "swap_weight": 0.5},
    ),
):
    weights, history, logs = train(tf.distribute.get_strategy(), optimizer, **options)
    two_weights, two_history, two_logs = train(strategy, optimizer, **options)
    for one, two in zip(weights, two_weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    for name in history:
        np.testing.assert_allclose(history[name], two_history[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(logs[name], two_logs[name], rtol=1e-5, atol=1e-5)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one(run_on_two_devices):
    assert "same" in run_on_two_devices(ONE_OR_TWO_REPLICAS)
