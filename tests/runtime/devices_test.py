import random
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config import DistributeConfig
from visem_tf.errors import UserError
from visem_tf.runtime.devices import make_strategy, set_seed

no_gpu = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="has a GPU")


@no_gpu
def test_one_device_needs_no_strategy():
    strategy = make_strategy(DistributeConfig())
    assert strategy is tf.distribute.get_strategy()
    assert make_strategy(DistributeConfig(strategy="none")).num_replicas_in_sync == 1


@no_gpu
def test_mirrored_may_have_one_device():
    strategy = make_strategy(DistributeConfig(strategy="mirrored"))
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 1


@no_gpu
def test_a_cpu_cannot_be_split_after_the_start():
    tf.constant(1.0)
    with pytest.raises(UserError, match="already started with 1 .*new process"):
        make_strategy(DistributeConfig(replicas=2))


def test_more_replicas_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    with pytest.raises(UserError, match=r"replicas is 2, but this machine has 1 GPU; ask"):
        make_strategy(DistributeConfig(replicas=2))


@pytest.mark.slow
def test_threads_and_replicas_are_set_before_the_start_of_tensorflow(
    run_python: Callable[..., str],
):
    out = run_python(
        """
from visem_tf.config import DistributeConfig
from visem_tf.errors import UserError
from visem_tf.runtime.devices import make_strategy, use_threads
import tensorflow as tf
use_threads(0)
use_threads(1)
print(tf.config.threading.get_intra_op_parallelism_threads())
strategy = make_strategy(DistributeConfig(replicas=2))
again = make_strategy(DistributeConfig(replicas=2))
auto = make_strategy(DistributeConfig())
total = strategy.reduce("SUM", strategy.run(lambda: tf.constant(3.0)), axis=None)
print(type(strategy).__name__, strategy.num_replicas_in_sync, float(total))
print(again.num_replicas_in_sync, auto.num_replicas_in_sync)
try:
    use_threads(2)
except UserError as error:
    print(error)
"""
    )
    *found, message = out.splitlines()
    assert found == ["1", "MirroredStrategy 2 6.0", "2 2"]
    assert message.startswith("compute.threads 2 cannot be set after TensorFlow has started")


def test_the_seed_repeats_everything():
    def draw(seed: int) -> tuple[float, ...]:
        set_seed(seed)
        weights = keras.layers.Dense(1)
        weights.build((1, 1))
        kernel = float(weights.kernel[0, 0])
        numpy = np.random.rand()  # noqa: NPY002 (the seed of NumPy itself is tested)
        return random.random(), numpy, float(tf.random.uniform([])), kernel

    first, second, other = draw(5), draw(5), draw(6)
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_a_bad_seed_is_named():
    with pytest.raises(ValueError, match="seed must be from 0 to"):
        set_seed(-1)
