"""Self-training on two devices: the same weights as on one, and zeros between members stay."""

import pytest

ONE_OR_TWO_REPLICAS = """
import keras, numpy as np
from visem_tf.alignment.phrases import Readout
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.self_training import SelfTrainingModel
from visem_tf.models.sentence_encoder import SentenceEncoder

random = np.random.default_rng(0)
images, each, regions = 7, 2, 4  # batches of 3, 3 and 1: replicas get 2, 1 and no images

def batches():
    for rows in np.split(np.arange(images), [3, 6]):
        for share in (rows[:2], rows[2:]) if strategy_now.num_replicas_in_sync > 1 else (rows,):
            owned = np.repeat(share, each)
            yield {
                **{name: values[share] for name, values in of_images.items()},
                "image_ids": share,
                "sentence_images": owned,
                "token_ids": token_ids[share].reshape(len(owned), 5),
            }

token_ids = random.integers(4, 20, (images, each, 5)).astype(np.int32)
token_ids[..., 3:] *= random.integers(0, 2, (images, each, 2))
token_ids[..., 4] *= token_ids[..., 3] > 0
low = random.uniform(0, 0.4, (images, regions, 2))
of_images = {
    "region_features": 3 * random.normal(size=(images, regions, 9)).astype(np.float32),
    "region_mask": np.arange(regions) < random.integers(2, regions + 1, (images, 1)),
    "boxes": np.concatenate([low, low + 0.5], axis=2).astype(np.float32),
    "scores": random.uniform(0.1, 0.9, (images, regions)).astype(np.float32),
}
is_content = np.arange(20) % 3 > 0

def train(strategy):
    global strategy_now
    strategy_now = strategy
    keras.utils.set_random_seed(0)
    with strategy.scope():
        alignment = AlignmentModel(
            RegionEncoder(16), SentenceEncoder(20, 16, 12, 10), loss="infonce", clip_value=0.5
        )
        alignment.build({"region_features": (None, regions, 9), "token_ids": (None, None)})
        kernel = alignment.region_encoder.projection.kernel
        kernel.assign(kernel * (np.arange(16) % 2))
        model = SelfTrainingModel(alignment, Readout("phrase"), is_content, 5.0)
        model.compile(keras.optimizers.SGD(0.01), run_eagerly=strategy.num_replicas_in_sync == 1)
    example = next(batches())
    types = {name: tf.TensorSpec([None, *np.shape(v)[1:]], np.asarray(v).dtype)
             for name, v in example.items()}
    types["token_ids"] = tf.TensorSpec([None, 5], tf.int32)
    dataset = strategy.distribute_datasets_from_function(
        lambda context: tf.data.Dataset.from_generator(batches, output_signature=types)
    )
    model.fit(dataset, steps_per_epoch=3, verbose=0)
    return [weight.numpy() for weight in model.alignment.weights]

one, two = train(tf.distribute.get_strategy()), train(strategy)
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
zeros = [weight for weight in one if weight.shape == (9, 16)][0][:, ::2]
assert not zeros.any()
print("same")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one_and_zeros_stay(run_on_two_devices):
    assert "same" in run_on_two_devices(ONE_OR_TWO_REPLICAS)
