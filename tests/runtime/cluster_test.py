"""TF_CONFIG: who is there, what is wrong with it, and waiting for all with an end."""

import json
import socket
import threading
import time

import pytest

from visem_tf.config import Config, DistributeConfig
from visem_tf.errors import UserError
from visem_tf.runs.opening import open_run
from visem_tf.runtime.cluster import Cluster, read_cluster, wait_for_workers

WORKERS = {"worker": ["a:2222", "b:2222"]}


def cluster(roles=WORKERS, task=("worker", 0)):
    values = {"cluster": roles, "task": {"type": task[0], "index": task[1]}}
    return read_cluster({"TF_CONFIG": json.dumps(values)})


def test_the_first_worker_is_the_chief():
    assert cluster() == Cluster(("a:2222", "b:2222"), 0)
    assert cluster().is_chief
    assert not cluster(task=("worker", 1)).is_chief


def test_a_chief_comes_before_the_workers():
    found = cluster({**WORKERS, "chief": ["c:1"]}, ("worker", 0))
    assert found == Cluster(("c:1", "a:2222", "b:2222"), 1)
    assert cluster({**WORKERS, "chief": ["c:1"]}, ("chief", 0)).is_chief


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {"worker": ["a:1"]}}'])
def test_without_several_workers_there_is_no_cluster(text):
    assert read_cluster({"TF_CONFIG": text}) is None
    assert read_cluster({}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "must be an object"),
        ('{"cluster": ["a:1", "b:1"]}', 'has a "cluster" that is no object'),
        ('{"cluster": {"worker": "a:1"}}', 'must list the addresses of "worker"'),
        ('{"cluster": {"worker": ["a:1", "b"]}}', "has 'b' among worker, which is no HOST:PORT"),
        ('{"cluster": {"worker": ["a:1", "b:70000"]}}', "'b:70000' among worker"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}}', "names the address a:1 twice"),
        ('{"cluster": {"ps": ["c:1"], "worker": ["a:1", "b:1"]}}', "has the role 'ps'"),
        ('{"cluster": {"chief": ["c:1", "d:1"], "worker": ["a:1"]}}', "more than one chief"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', 'lacks "task"'),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
            "has the task 'worker' 2, but the cluster has worker 0, worker 1",
        ),
    ],
)
def test_mistakes_are_named_with_an_example(text, message):
    with pytest.raises(UserError) as raised:
        read_cluster({"TF_CONFIG": text})
    assert str(raised.value).startswith(f"TF_CONFIG {message}") or message in str(raised.value)
    assert '"task": {"type": "worker", "index": 0}' in str(raised.value)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_workers_wait_for_each_other():
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(2))
    lines, done = [], []

    def start(index):
        wait_for_workers(Cluster(addresses, index), 20, report=lines.append)
        # TensorFlow's server takes the port over; here, a plain one.
        port = int(addresses[index].rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            done.append(index)
            time.sleep(1)

    first = threading.Thread(target=start, args=(0,))
    first.start()
    time.sleep(0.5)
    assert lines == [f"waiting for worker 1 ({addresses[1]})"]
    assert not done
    start(1)
    first.join(20)
    assert sorted(done) == [0, 1]


def test_a_missing_worker_ends_the_wait():
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(2))
    started = time.monotonic()
    with pytest.raises(UserError, match=rf"worker 0 \({addresses[0]}\) did not answer within 1 s"):
        wait_for_workers(Cluster(addresses, 1), 1, report=lambda _: None)
    assert time.monotonic() - started < 10


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"worker 0 .* cannot use its port {port}"):
            wait_for_workers(Cluster((f"127.0.0.1:{port}", "127.0.0.1:1"), 0), 1)


def test_multi_worker_takes_no_replicas():
    with pytest.raises(UserError, match=r"multi_worker takes every GPU.*distribute\.replicas 2"):
        DistributeConfig(strategy="multi_worker", replicas=2)


@pytest.mark.parametrize(
    ("option", "value", "stage"),
    [
        ("generate.cider_epochs", 1, "generate"),
        ("align.finetune_epochs", 1, "align"),
        ("joint.train", True, "align"),
    ],
)
def test_what_knows_one_machine_only_is_refused_before_anybody_waits(
    option, value, stage, monkeypatch, tmp_path
):
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": WORKERS, "task": task}))
    config = Config(run_dir=str(tmp_path / "run")).updated(
        {option: value, "align.word_dim": 256, "stages": ("features", stage)}
    )
    with pytest.raises(UserError, match=f"{option} trains on the devices of one machine"):
        open_run(config)
    assert not (tmp_path / "run").exists()
