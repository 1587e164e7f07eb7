"""Workers: reading TF_CONFIG, waiting, exchanging values, and whole trainings of two processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config import Config, DistributeConfig
from visem_tf.errors import UserError
from visem_tf.runs.opening import open_run
from visem_tf.runtime.workers import (
    Cluster,
    any_worker,
    barrier,
    broadcast_from_chief,
    check_workers_agree,
    read_cluster,
    report_training_errors,
    wait_for_workers,
)

WORKERS = {"worker": ["a:2222", "b:2222"]}


def cluster(roles=WORKERS, task=("worker", 0)):
    values = {"cluster": roles, "task": {"type": task[0], "index": task[1]}}
    return read_cluster({"TF_CONFIG": json.dumps(values)})


def test_the_first_worker_is_the_chief():
    assert cluster() == Cluster(("a:2222", "b:2222"), 0)
    assert cluster(task=("worker", 1)) == Cluster(("a:2222", "b:2222"), 1)


def test_a_chief_comes_before_the_workers():
    found = cluster({**WORKERS, "chief": ["c:1"]}, ("worker", 0))
    assert found == Cluster(("c:1", "a:2222", "b:2222"), 1)
    assert cluster({**WORKERS, "chief": ["c:1"]}, ("chief", 0)).index == 0


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {"worker": ["a:1"]}}'])
def test_without_several_workers_there_is_no_cluster(text):
    assert read_cluster({"TF_CONFIG": text}) is None
    assert read_cluster({}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a JSON object"),
        ("[]", "is not a JSON object"),
        ('{"cluster": ["a:1", "b:1"]}', "is not a JSON object of the expected form"),
        ('{"cluster": {"worker": 2}}', "is not a JSON object of the expected form"),
        ('{"cluster": {"worker": "a:1"}}', "names the worker 'a', which is not HOST:PORT"),
        ('{"cluster": {"worker": ["a:1", "b:70000"]}}', "'b:70000', which is not HOST:PORT"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}}', "names the address a:1 twice"),
        ('{"cluster": {"ps": ["c:1"], "worker": ["a:1", "b:1"]}}', "has the role 'ps'"),
        ('{"cluster": {"chief": ["c:1", "d:1"], "worker": ["a:1"]}}', "more than one chief"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "has the task None"),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
            "which is none of its workers worker 0, worker 1",
        ),
    ],
)
def test_mistakes_are_named_with_an_example(text, message):
    with pytest.raises(UserError, match=f"^TF_CONFIG .*{message}") as raised:
        read_cluster({"TF_CONFIG": text})
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
    with pytest.raises(UserError, match=rf"worker 0 \({addresses[0]}\) did not answer within 1 s"):
        wait_for_workers(Cluster(addresses, 1), 1, report=lambda _: None)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"worker 0 .* cannot use its port {port}"):
            wait_for_workers(Cluster((f"127.0.0.1:{port}", "127.0.0.1:1"), 0), 1)


def test_multi_worker_takes_no_replicas():
    with pytest.raises(UserError, match=r"multi_worker uses every GPU.*distribute\.replicas 2"):
        DistributeConfig(strategy="multi_worker", replicas=2)


def test_one_process_exchanges_nothing():
    strategy = tf.distribute.get_strategy()
    np.testing.assert_array_equal(broadcast_from_chief(strategy, np.array([1.5, 2.0])), [1.5, 2.0])
    assert any_worker(strategy, True) and not any_worker(strategy, False)
    barrier(strategy)
    check_workers_agree(strategy, {"seed": "1"})


def test_a_lack_of_memory_is_reported_with_a_remedy():
    strategy, retry = tf.distribute.get_strategy(), "try a smaller --align.batch_size"
    with (
        pytest.raises(UserError, match=f"out of memory; {retry}"),
        report_training_errors(strategy, retry),
    ):
        tf.zeros([2**46])
    # Other errors pass through.
    with pytest.raises(tf.errors.InvalidArgumentError), report_training_errors(strategy):
        tf.reshape(tf.zeros([2]), [3])


# 30 sentences: the last batch has one pair, so that a worker has none at all.
TINY = {
    "--regions.features": "pooled",  # one graph of the CNN
    "--align.epochs": "2",
    "--align.batch_size": "29",
    "--align.optimizer": "sgd",
    "--align.learning_rate": "2e-4",
    "--align.finetune_epochs": "1",
    "--align.finetune_from": "8",
    "--align.finetune_batch_size": "5",  # of six images
    "--generate.epochs": "1",
    "--generate.batch_size": "29",
    "--generate.regions": "false",
    "--generate.cider_epochs": "1",
    "--generate.cider_batch_size": "5",
    "--generate.cider_samples": "2",
    "--generate.cider_learning_rate": "0.01",
    "--stages": "features,align,generate",
    "--distribute.wait_seconds": "120",
}
PATIENCE = 900


def start(run_dir, made, place=None, ports=(), **changes):
    """Starts a fit of the data of `made`, as a worker where it has a place among ports."""
    options = {"--config": made / "run" / "config.json", **TINY, "--run-dir": run_dir}
    options["--cache-dir"] = made / "cache"
    options.update({f"--{name.replace('__', '.')}": value for name, value in changes.items()})
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if place is not None:
        workers = [f"127.0.0.1:{port}" for port in ports]
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": place}}
        environment["TF_CONFIG"] = json.dumps(config)
    command = [str(part) for pair in options.items() for part in pair]
    return subprocess.Popen(
        [sys.executable, "-m", "visem_tf.fit", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
    )


def finish(*processes):
    """Returns exit statuses and outputs; no process outlives the test."""
    try:
        outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def start_two(run_dir, made, **changes):
    ports = free_ports(2)
    return [start(run_dir, made, place, ports, **changes) for place in (0, 1)]


def history(run_dir, stage):
    return json.loads((run_dir / "checkpoints" / stage / "progress.json").read_text())["history"]


@pytest.fixture(scope="module")
def made(untrained_run, tmp_path_factory):
    """The configuration of the untrained run, and a cache of its own, which is empty."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "run").mkdir()
    shutil.copy(untrained_run.path / "config.json", folder / "run")
    return folder


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory, made):
    """The run directory of two workers, and what both of them printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "two"
    statuses, outputs = finish(*start_two(run_dir, made))
    assert statuses == [0, 0], outputs
    return run_dir, outputs


@pytest.mark.slow
def test_two_workers_equal_two_devices_to_the_last_bit(two_workers, tmp_path, made):
    run_dir, _ = two_workers
    statuses, outputs = finish(start(tmp_path / "mirrored", made, distribute__replicas=2))
    assert statuses == [0], outputs
    for stage in ("align", "finetune", "generate/full_frame", "generate/full_frame_cider"):
        states = (run_dir / "checkpoints" / stage).glob("last-*.npz")
        file = max(states, key=lambda path: int(path.stem.split("-")[1]))  # of the last epoch
        with (
            np.load(file) as two,
            np.load(tmp_path / "mirrored" / file.relative_to(run_dir)) as one,
        ):
            for name in set(two.files) - {"progress"}:  # which is text, compared below
                np.testing.assert_allclose(two[name], one[name], rtol=1e-6, atol=1e-7)
        alone = history(tmp_path / "mirrored", stage)
        for epoch, expected in zip(history(run_dir, stage), alone, strict=True):
            assert epoch == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_chief_alone_writes_and_reports(two_workers):
    run_dir, (chief, worker) = two_workers
    assert "alignment: epoch 2/2" in chief and "run directory:" in chief
    assert "epoch" not in worker and "run directory:" not in worker
    assert "[2/3] align: finished" in worker
    assert not list(run_dir.rglob("*.partial*"))
    state = json.loads((run_dir / "state.json").read_text())
    assert all(stage["done"] for stage in state["stages"].values())


@pytest.mark.slow
def test_a_lost_worker_ends_the_other_and_a_restart_goes_on(two_workers, tmp_path, made):
    killed = tmp_path / "killed"
    changes = {"stages": "features,align", "align__finetune_epochs": 0}
    processes = start_two(killed, made, **changes)
    started = time.monotonic()
    while not (killed / "checkpoints" / "align" / "progress.json").exists():
        assert all(process.poll() is None for process in processes), finish(*processes)
        assert time.monotonic() - started < PATIENCE
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGKILL)
    statuses, outputs = finish(*processes)
    assert statuses[0] == 2, outputs
    assert "another worker was lost" in outputs[0]
    assert "Traceback" not in outputs[0]
    statuses, outputs = finish(*start_two(killed, made, **changes))
    assert statuses == [0, 0], outputs
    assert history(killed, "align") == history(two_workers[0], "align")


@pytest.mark.slow
def test_workers_that_differ_are_told_so(tmp_path, made):
    ports = free_ports(2)
    statuses, outputs = finish(
        start(tmp_path / "a", made, 0, ports),
        start(tmp_path / "b", made, 1, ports, align__margin="0.5"),
    )
    assert statuses == [2, 2], outputs
    for output in outputs:
        assert "worker 1 and the chief (worker 0) differ in " in output
        assert "align.margin" in output
        assert "--run-dir (all workers must see one folder)" in output


def test_multi_worker_needs_to_know_its_cluster(monkeypatch, tmp_path):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    config = Config(run_dir=str(tmp_path)).updated({"distribute.strategy": "multi_worker"})
    with pytest.raises(UserError, match="needs a TF_CONFIG"):
        open_run(config)
