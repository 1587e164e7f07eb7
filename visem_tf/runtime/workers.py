"""Several worker processes that train one model: who they are, and what they exchange.

`TF_CONFIG` describes the workers; the first one, the chief, alone writes results. Functions that
take a strategy exchange values between its workers. All workers must call them in the same order.
With one process they return at once.
"""

import contextlib
import functools
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.runtime.full_disk import report_full_disk
from visem_tf.runtime.storage import reason_of
from visem_tf.runtime.working_copy import fetch_copies, send_copies

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)
_ROLES = ("chief", "worker")
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, of which this process is one.

    Attributes:
        addresses: HOST:PORT of every worker; the first is the chief's.
        index: Index of this process among the workers.
    """

    addresses: tuple[str, ...]
    index: int

    def name(self, index: int) -> str:
        """Returns the name of a worker in messages.

        Example:
            >>> Cluster(("a:1", "b:1"), 0).name(1)
            'worker 1 (b:1)'
        """
        return f"worker {index} ({self.addresses[index]})"


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Returns the cluster that `TF_CONFIG` describes.

    Args:
        environment: Environment variables of the process.

    Returns:
        None without `TF_CONFIG`, or if it names fewer than two workers.

    Raises:
        UserError: `TF_CONFIG` is malformed, names a worker twice, has roles that a mirrored
            training does not have, or its task is none of its workers.

    Example:
        >>> workers = {"worker": ["a:2222", "b:2222"]}
        >>> task = {"type": "worker", "index": 1}
        >>> read_cluster({"TF_CONFIG": json.dumps({"cluster": workers, "task": task})})
        Cluster(addresses=('a:2222', 'b:2222'), index=1)
    """
    text = environment.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
        roles = {role: list(addresses) for role, addresses in config.get("cluster", {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise _invalid(f"is not a JSON object of the expected form ({error})") from error
    if unknown := sorted(set(roles) - {*_ROLES, "evaluator"}):
        raise _invalid(f"has the role {unknown[0]!r}, which a mirrored training does not have")
    if len(roles.get("chief", [])) > 1:
        raise _invalid("names more than one chief")
    tasks = [(role, index) for role in _ROLES for index in range(len(roles.get(role, [])))]
    addresses = tuple(roles[role][index] for role, index in tasks)
    for address in addresses:
        host, _, port = str(address).rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise _invalid(f"names the worker {address!r}, which is not HOST:PORT")
        if addresses.count(address) > 1:
            raise _invalid(f"names the address {address} twice")
    if len(addresses) < 2:
        return None
    return Cluster(addresses, _own_index(config.get("task"), tasks))


def _own_index(task: Any, tasks: list[tuple[str, int]]) -> int:
    try:
        return tasks.index((task["type"], int(task["index"])))
    except (KeyError, ValueError, TypeError) as error:
        known = ", ".join(f"{role} {index}" for role, index in tasks)
        raise _invalid(f"has the task {task!r}, which is none of its workers {known}") from error


def _invalid(reason: str) -> UserError:
    return UserError(f"TF_CONFIG {reason}; a valid one is {_EXAMPLE}")


def wait_for_workers(
    cluster: Cluster, seconds: float, *, report: Callable[[str], object] = print
) -> None:
    """Returns when every other worker of a cluster has answered at its address.

    TensorFlow itself waits for a missing worker without end and without a message. Until this
    returns, the process answers at its own address, which TensorFlow then takes over.

    Args:
        cluster: The workers.
        seconds: Longest time to wait.
        report: Called with a line of text if workers are missing at first.

    Raises:
        UserError: This worker's port cannot be used, or another worker has not answered in time.
    """
    port = cluster.addresses[cluster.index].rpartition(":")[2]
    deadline = time.monotonic() + seconds
    missing = [index for index in range(len(cluster.addresses)) if index != cluster.index]
    reported = False
    try:
        listener = socket.create_server(("", int(port)), backlog=len(cluster.addresses))
    except OSError as error:
        raise UserError(
            f"{cluster.name(cluster.index)} cannot use its port {port}: {reason_of(error)}; end "
            "the process that uses it, or name another port in TF_CONFIG"
        ) from error
    with listener:
        while missing := [index for index in missing if not _answers(cluster.addresses[index])]:
            names = ", ".join(cluster.name(index) for index in missing)
            if time.monotonic() > deadline:
                raise UserError(
                    f"{names} did not answer within {seconds:g} s; start the same command there, "
                    "check the address in TF_CONFIG, or raise --distribute.wait_seconds"
                )
            if not reported:
                report(f"waiting for {names}")
                reported = True
            time.sleep(0.2)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except OSError:
        return False


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes that train together."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values())) or 1
    return 1


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Returns the index of this process among the workers; 0 is the chief."""
    cluster = read_cluster() if num_workers(strategy) > 1 else None
    return cluster.index if cluster else 0


def gather_from_workers(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Returns the values [N] of every worker, [workers, N], in every worker."""
    if num_workers(strategy) == 1:
        return values[np.newaxis]

    rows = _gathering(strategy)(tf.constant(values)).numpy()
    return rows[:: len(rows) // num_workers(strategy)]


@functools.cache
def _gathering(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function that gathers rows; it is traced once for each shape and type."""

    @tf.function(autograph=False)
    def gather(own: tf.Tensor) -> tf.Tensor:
        def in_replica() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(own[tf.newaxis], axis=0)

        return strategy.experimental_local_results(strategy.run(in_replica))[0]

    return gather


def broadcast_from_chief(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Returns the chief's values in every worker, so that all of them decide alike.

    Args:
        strategy: Strategy of the training.
        values: Array [N] of the same size in all workers.
    """
    return gather_from_workers(strategy, values)[0]


def broadcast_rows_from_chief(strategy: tf.distribute.Strategy, rows: np.ndarray) -> np.ndarray:
    """Returns the chief's rows in every worker, however many rows the others have.

    Args:
        strategy: Strategy of the training.
        rows: Array [N, ...], where only N may differ between workers.
    """
    count = int(broadcast_from_chief(strategy, np.array([len(rows)]))[0])
    return broadcast_from_chief(strategy, np.resize(rows, (count, *rows.shape[1:])))


def any_worker(strategy: tf.distribute.Strategy, answer: bool) -> bool:
    """Returns in every worker whether `answer` is true in at least one of them."""
    return bool(gather_from_workers(strategy, np.array([answer], np.int64)).any())


def barrier(strategy: tf.distribute.Strategy) -> None:
    """Waits for all workers, which then find the files that the others have written before.

    Raises:
        UserError: A storage with a run directory or a cache cannot be written.
        OSError: It cannot be read.
    """
    if num_workers(strategy) == 1:
        return
    send_copies()
    gather_from_workers(strategy, np.zeros(1, np.int64))
    fetch_copies()


def check_workers_agree(strategy: tf.distribute.Strategy, facts: Mapping[str, str]) -> None:
    """Compares what the workers train with.

    Args:
        strategy: Strategy of the training.
        facts: Values to compare by their names, which are the same in all workers.

    Raises:
        UserError: In every worker, naming the facts and the workers that differ from the chief.
    """
    names = sorted(facts)
    # The names come first: with other names the values could not be compared.
    versions = gather_from_workers(strategy, _digests([" ".join(names)]))
    if (versions != versions[0]).any():
        raise UserError("the workers run different versions of visem_tf; install one everywhere")
    rows = gather_from_workers(strategy, _digests([facts[name] for name in names]))
    differing = np.argwhere(rows != rows[0])
    if len(differing):
        workers = ", ".join(str(row) for row in np.unique(differing[:, 0]))
        raise UserError(
            f"worker {workers} and the chief (worker 0) differ in "
            f"{', '.join(names[column] for column in np.unique(differing[:, 1]))}; give all "
            "workers the same command, versions and files"
        )


def _digests(texts: list[str]) -> np.ndarray:
    """64 bits of a hash of each text, int64 [N]."""
    hashes = b"".join(hashlib.sha256(text.encode()).digest()[:8] for text in texts)
    return np.frombuffer(hashes, np.int64)


@contextlib.contextmanager
def report_training_errors(strategy: tf.distribute.Strategy, retry: str = "") -> Iterator[None]:
    """Turns TensorFlow's errors for a lost worker, a lack of memory or a full disk into one line.

    Args:
        strategy: Strategy that the block trains with.
        retry: Advice to the user if memory runs out.

    Raises:
        UserError: A worker was lost, or memory ran out.
        OSError: The disk is full.
    """
    try:
        with report_full_disk():
            yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise UserError(f"out of memory; {retry or 'use smaller batches'}") from error
    except tf.errors.OpError as error:
        if num_workers(strategy) == 1 or not isinstance(error, _LOST):
            raise
        raise UserError(
            "another worker was lost, or ended with an error; start the same command on all "
            "workers again to continue from the last save"
        ) from error
