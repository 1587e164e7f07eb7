"""What several workers must agree on: what they train, what the chief decides, who is lost.

With one process, all of this does nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.runtime.cluster import read_cluster

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes that train together."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values())) or 1
    return 1


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Returns the place of this process among the workers; 0 is the chief."""
    cluster = read_cluster() if num_workers(strategy) > 1 else None
    return cluster.index if cluster else 0


def chiefs_word(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Returns in every worker what the chief has: they decide alike, and wait for each other.

    Args:
        strategy: all its workers must call this, in the same order among such calls.
        values: float64 [n] of one size in all workers.
    """
    if num_workers(strategy) == 1:
        return values

    @tf.function(autograph=False)
    def shared(own: tf.Tensor) -> tf.Tensor:
        def summed() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            is_first = tf.equal(context.replica_id_in_sync_group, 0)
            mine = tf.where(is_first, own, tf.zeros_like(own))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

        return strategy.experimental_local_results(strategy.run(summed))[0]

    return shared(tf.constant(values, tf.float64)).numpy()


def anyone(strategy: tf.distribute.Strategy, answer: bool) -> bool:
    """Returns in every worker whether one of them at least says yes; all must call this."""
    if num_workers(strategy) == 1:
        return answer
    return bool(_gathered(strategy, np.array([answer], np.int64)).any())


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has come here."""
    chiefs_word(strategy, np.zeros(1))


def check_agreement(strategy: tf.distribute.Strategy, facts: Mapping[str, str]) -> None:
    """Compares what the workers work with, so that they do not train on different things.

    Args:
        strategy: all its workers must call this.
        facts: the same names in every worker, with what each has under them.

    Raises:
        UserError: in every worker, naming what differs and in which worker.
    """
    if num_workers(strategy) == 1:
        return
    names = sorted(facts)
    digests = [hashlib.sha256(facts[name].encode()).digest()[:8] for name in names]
    # The number of facts goes first: with other names nothing below could be compared.
    whole = hashlib.sha256("\n".join(names).encode()).digest()[:8]
    kinds = _gathered(strategy, np.frombuffer(whole, np.int64))
    if (kinds != kinds[0]).any():
        raise UserError("the workers run different versions of visem_tf; install one everywhere")
    rows = _gathered(strategy, np.frombuffer(b"".join(digests), np.int64))
    differing = np.argwhere(rows != rows[0])
    if len(differing):
        told = sorted({names[column] for _, column in differing})
        workers = sorted({int(row) for row, _ in differing})
        raise UserError(
            f"worker {', '.join(map(str, workers))} and the chief (worker 0) differ in "
            f"{', '.join(told)}; give all workers the same command, versions and files"
        )


def _gathered(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """The values [n] of every worker, int64 [workers, n]."""

    @tf.function(autograph=False)
    def gather(own: tf.Tensor) -> tf.Tensor:
        def whole() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(own[tf.newaxis], axis=0)

        return strategy.experimental_local_results(strategy.run(whole))[0]

    rows = gather(tf.constant(values)).numpy()
    return rows[:: len(rows) // num_workers(strategy)]


@contextlib.contextmanager
def loss_told(strategy: tf.distribute.Strategy, retry: str = "") -> Iterator[None]:
    """Turns what TensorFlow says when a worker is lost, or memory runs out, into one line.

    Args:
        strategy: what the block trains with.
        retry: what to do when memory runs out.

    Raises:
        UserError: instead of TensorFlow's errors.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise UserError(f"out of memory; {retry or 'use smaller batches'}") from error
    except tf.errors.OpError as error:
        if num_workers(strategy) == 1 or not isinstance(error, _LOST):
            raise
        raise UserError(
            "another worker was lost, or ended with an error; start the same command on all "
            "workers again, and they go on from the last save"
        ) from error
