"""Devices, threads and seeds: the strategy of a training, and what makes a run repeatable.

The objective does not depend on the number of replicas; see `visem_tf.models`.
"""

import faulthandler
import multiprocessing.pool
import sys
from typing import Any

import keras
import tensorflow as tf

from visem_tf.config import DistributeConfig
from visem_tf.errors import UserError
from visem_tf.runtime.storage import reason_of
from visem_tf.runtime.streams import tell
from visem_tf.runtime.workers import Cluster, read_cluster, wait_for_workers


def make_strategy(config: DistributeConfig) -> tf.distribute.Strategy:
    """Returns the strategy that a configuration selects.

    Without a GPU, several replicas are logical devices of the CPU. They gain no speed, but behave
    like several GPUs, and can only be created before TensorFlow has used the CPU.

    Args:
        config: Section `distribute` of the configuration.

    Returns:
        The default strategy for one device, unless "mirrored" is selected; a `MirroredStrategy`
        for several; a `MultiWorkerMirroredStrategy` if `TF_CONFIG` names several workers.

    Raises:
        UserError: There are fewer GPUs than replicas, TensorFlow has already started, `TF_CONFIG`
            is invalid, or a worker that it names is missing.

    Example:
        >>> make_strategy(DistributeConfig(strategy="none")).num_replicas_in_sync
        1
    """
    if config.strategy == "none":
        return tf.distribute.get_strategy()
    if config.strategy in ("auto", "multi_worker"):
        cluster = read_cluster()
        if cluster:
            return _join(cluster, config.wait_seconds)
        if config.strategy == "multi_worker":
            raise UserError(
                "distribute.strategy multi_worker needs a TF_CONFIG that names two workers or "
                "more; see docs/distributed.md"
            )
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        replicas = config.replicas or len(gpus)
        if replicas > len(gpus):
            raise UserError(
                f"distribute.replicas is {replicas}, but this machine has {len(gpus)} GPU"
                f"{'s' * (len(gpus) > 1)}; ask for that many or fewer"
            )
        kind = "GPU"
    else:
        replicas = config.replicas or max(1, len(tf.config.list_logical_devices("CPU")))
        kind = "CPU"
        if replicas > 1:
            _split_cpu(replicas)
    if replicas == 1 and config.strategy == "auto":
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(replicas)])


def use_threads(count: int) -> None:
    """Sets the number of threads of a matrix product on the CPU, before TensorFlow starts.

    Args:
        count: Number of threads; 0 for one on every core, which is TensorFlow's default.

    Raises:
        UserError: TensorFlow has already started.
    """
    if not count or count == tf.config.threading.get_intra_op_parallelism_threads():
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
    except RuntimeError as error:
        raise UserError(
            f"compute.threads {count} cannot be set after TensorFlow has started in this process"
        ) from error


def _join(cluster: Cluster, wait_seconds: float) -> tf.distribute.Strategy:
    """Waits for all workers, and joins them."""
    prefix = f"worker {cluster.index}: "
    wait_for_workers(cluster, wait_seconds, report=lambda line: tell(prefix + line))
    # If a worker ends at this very moment, TensorFlow waits without end, and holds Python's lock.
    faulthandler.dump_traceback_later(wait_seconds + 60, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        reason = reason_of(error)
        raise UserError(f"worker {cluster.index} cannot join the others: {reason}") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
    _hide_open_pools()
    return strategy


def _hide_open_pools() -> None:
    """Hides the exceptions of thread pools that TensorFlow leaves open when Python ends."""
    show = sys.unraisablehook

    def show_others(unraisable: Any) -> None:
        if unraisable.object is not multiprocessing.pool.Pool.__del__:
            show(unraisable)

    sys.unraisablehook = show_others


def _split_cpu(replicas: int) -> None:
    """Splits the CPU into logical devices."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    wanted = [tf.config.LogicalDeviceConfiguration() for _ in range(replicas)]
    try:
        tf.config.set_logical_device_configuration(cpu, wanted)
    except RuntimeError as error:
        existing = len(tf.config.list_logical_devices("CPU"))
        if existing < replicas:
            raise UserError(
                f"distribute.replicas is {replicas}, but TensorFlow has already started "
                f"with {existing} logical CPU devices; ask for more in a new process"
            ) from error


def set_seed(seed: int) -> None:
    """Seeds Python, NumPy, TensorFlow and Keras, and makes TensorFlow's operations repeatable.

    Args:
        seed: Seed from 0 to 2**32 - 1.

    Raises:
        ValueError: The seed is out of that range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be from 0 to 2**32 - 1, not {seed}")
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
