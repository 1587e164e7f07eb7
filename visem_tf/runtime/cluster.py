"""Several machines: who they are (`TF_CONFIG`), and that all of them are there before work begins.

Nothing here needs TensorFlow; `visem_tf.runtime.devices` makes the strategy.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from visem_tf.errors import UserError

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)
_ROLES = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, of which this process is one.

    Attributes:
        addresses: HOST:PORT of every worker; the first is the chief's, which alone writes.
        index: the place of this process among them.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the results."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Returns how a worker is called in messages.

        Example:
            >>> Cluster(("a:1", "b:1"), 0).name(1)
            'worker 1 (b:1)'
        """
        return f"worker {index} ({self.addresses[index]})"


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Returns the cluster that `TF_CONFIG` describes.

    Args:
        environment: holds `TF_CONFIG`, or not.

    Returns:
        None without `TF_CONFIG`, or where it names one worker only.

    Raises:
        UserError: `TF_CONFIG` is no such JSON, names a worker badly or twice, has roles that a
            mirrored training does not know, or its task is none of its workers.

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
        values = json.loads(text)
    except ValueError as error:
        raise _bad(f"is no JSON ({error})") from error
    if not isinstance(values, dict):
        raise _bad("must be an object")
    roles = values.get("cluster", {})
    if not isinstance(roles, dict):
        raise _bad('has a "cluster" that is no object of lists of addresses')
    foreign = sorted(set(roles) - {*_ROLES, "evaluator"})
    if foreign:
        raise _bad(f"has the role {foreign[0]!r}, which a mirrored training does not know")
    places: list[tuple[str, int]] = []
    addresses: list[str] = []
    for role in _ROLES:
        for index, address in enumerate(_addresses(role, roles.get(role, []))):
            places.append((role, index))
            addresses.append(address)
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise _bad(f"names the address {twice[0]} twice")
    if len(roles.get("chief", [])) > 1:
        raise _bad("names more than one chief")
    if len(addresses) < 2:
        return None
    return Cluster(tuple(addresses), _own_place(values.get("task"), places))


def _addresses(role: str, found: Any) -> list[str]:
    if not isinstance(found, list):
        raise _bad(f'must list the addresses of "{role}"')
    for address in found:
        host, _, port = str(address).rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise _bad(f"has {address!r} among {role}, which is no HOST:PORT")
    return found


def _own_place(task: Any, places: list[tuple[str, int]]) -> int:
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        raise _bad('lacks "task" with "type" and "index", the place of this process')
    try:
        return places.index((task["type"], int(task["index"])))
    except (ValueError, TypeError) as error:
        there = ", ".join(f"{role} {index}" for role, index in places)
        raise _bad(
            f"has the task {task['type']!r} {task['index']!r}, but the cluster has {there}"
        ) from error


def _bad(what: str) -> UserError:
    return UserError(f"TF_CONFIG {what}; it looks like {_EXAMPLE}")


def wait_for_workers(
    cluster: Cluster, seconds: float, *, report: Callable[[str], object] = print
) -> None:
    """Returns when every other worker of a cluster has answered at its address.

    TensorFlow itself would wait for a missing worker without end and without a word. Until then
    this process answers at its own address, which TensorFlow takes over.

    Args:
        cluster: the workers.
        seconds: how long to wait at most.
        report: is given a line when somebody keeps the others waiting.

    Raises:
        UserError: the own port is taken or not of this machine, or a worker has not answered.
    """
    port = cluster.addresses[cluster.index].rpartition(":")[2]
    deadline = time.monotonic() + seconds
    missing = [index for index in range(len(cluster.addresses)) if index != cluster.index]
    told = False
    try:
        listener = socket.create_server(("", int(port)), backlog=len(cluster.addresses))
    except OSError as error:
        raise UserError(
            f"{cluster.name(cluster.index)} cannot use its port {port}: {error.strerror}; end what "
            f"listens there, or name another port in TF_CONFIG"
        ) from error
    with listener:
        while missing:
            missing = [index for index in missing if not _answers(cluster.addresses[index])]
            if missing and time.monotonic() > deadline:
                names = ", ".join(cluster.name(index) for index in missing)
                raise UserError(
                    f"{names} did not answer within {seconds:g} s; start the same command there, "
                    "check the address in TF_CONFIG, or raise --distribute.wait_seconds"
                )
            if missing and not told:
                names = ", ".join(cluster.name(index) for index in missing)
                report(f"waiting for {names}")
                told = True
            if missing:
                time.sleep(0.2)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except OSError:
        return False
