"""The multimodal RNN trained on two devices, and on one."""

import pytest

REPLICAS = """
import keras, numpy as np
from visem_tf.models.caption_generator import CaptionGenerator

rng = np.random.default_rng(0)
lengths = [7, 6, 1, 1, 5, 1, 4]  # token counts differ between the halves
token_ids = np.zeros([7, 9], np.int32)
for row, length in enumerate(lengths):
    token_ids[row, : length + 2] = [1, *rng.integers(3, 9, length), 2]
features = rng.normal(size=[7, 5]).astype(np.float32)
batch_size = 6  # leaves one picture, and one replica with nothing to do

def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        generator = CaptionGenerator(9, 8, 6, clip_value=0.05)
        generator.compile(
            optimizer=keras.optimizers.RMSprop(0.01), run_eagerly=strategy.num_replicas_in_sync == 1
        )
    dataset = tf.data.Dataset.from_tensor_slices(
        {"image_features": features, "token_ids": token_ids}
    ).batch(batch_size)
    history = generator.fit(dataset, epochs=2, verbose=0).history
    history["val"] = generator.evaluate(dataset, verbose=0)
    return history, [w.numpy() for w in generator.trainable_variables]

plain_history, plain = train(tf.distribute.get_strategy())
two_history, two = train(strategy)
for name in plain_history:
    np.testing.assert_allclose(two_history[name], plain_history[name], rtol=1e-5)
for a, b in zip(two, plain, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-6)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one(run_on_two_devices):
    assert "same" in run_on_two_devices(REPLICAS)
