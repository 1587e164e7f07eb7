"""Two worker processes on this machine: the same numbers as one, and clear ends without hangs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.runtime.workers import loss_told

# 800 sentences: the last batch of both has one pair or few, so that a worker may have none at all.
TINY = {
    "--preset": "smoke",
    "--regions.picture_size": "96",
    "--regions.num_regions": "4",
    "--align.epochs": "2",
    "--align.batch_size": "47",
    "--align.optimizer": "sgd",
    "--align.learning_rate": "2e-4",
    "--generate.epochs": "1",
    "--generate.batch_size": "47",
    "--generate.regions": "false",
    "--stages": "features,align,generate",
    "--distribute.wait_seconds": "120",
}
PATIENCE = 400


def start(run_dir, cache_dir, place=None, ports=(), **changes):
    """Starts a fit, as a worker where it has a place among ports."""
    options = {**TINY, "--run-dir": run_dir, "--cache-dir": cache_dir}
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
    """Exit statuses and outputs; nobody outlives the test."""
    try:
        outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def free_ports():
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start_two(run_dir, cache_dir, **changes):
    ports = free_ports()
    return [start(run_dir, cache_dir, place, ports, **changes) for place in (0, 1)]


def history(run_dir, stage):
    return json.loads((run_dir / "checkpoints" / stage / "progress.json").read_text())["history"]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory, cache_dir):
    """The run directory of two workers, and what both of them printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "two"
    statuses, outputs = finish(*start_two(run_dir, cache_dir))
    assert statuses == [0, 0], outputs
    return run_dir, outputs


def test_two_workers_learn_what_one_learns(two_workers, tmp_path, cache_dir):
    run_dir, _ = two_workers
    statuses, outputs = finish(start(tmp_path / "one", cache_dir))
    assert statuses == [0], outputs
    for stage in ("align", "generate/full_frame"):
        one, two = history(tmp_path / "one", stage), history(run_dir, stage)
        assert len(one) == len(two) > 0
        for expected, found in zip(one, two, strict=True):
            assert found == pytest.approx(expected, rel=1e-5)


def test_two_workers_equal_two_devices_to_the_last_bit(two_workers, tmp_path, cache_dir):
    run_dir, _ = two_workers
    statuses, outputs = finish(start(tmp_path / "mirrored", cache_dir, distribute__replicas=2))
    assert statuses == [0], outputs
    for stage in ("align", "generate/full_frame"):
        [file] = (run_dir / "checkpoints" / stage).glob("last-*.npz")
        with (
            np.load(file) as two,
            np.load(tmp_path / "mirrored" / file.relative_to(run_dir)) as one,
        ):
            for name in two.files:
                np.testing.assert_allclose(two[name], one[name], rtol=1e-6, atol=1e-7)


def test_the_chief_alone_writes_and_reports(two_workers):
    run_dir, (chief, worker) = two_workers
    assert "align: epoch 2/2" in chief and "run directory:" in chief
    assert "epoch" not in worker and "run directory:" not in worker
    assert "[2/3] align: finished" in worker
    assert not list(run_dir.rglob("*.partial*"))
    state = json.loads((run_dir / "state.json").read_text())
    assert all(stage["done"] for stage in state["stages"].values())


@pytest.mark.parametrize("victim", [1, 0])
def test_a_lost_worker_ends_the_others_and_a_restart_goes_on(
    victim, two_workers, tmp_path, cache_dir
):
    killed = tmp_path / "killed"
    processes = start_two(killed, cache_dir)
    started = time.monotonic()
    while not (killed / "checkpoints" / "align" / "progress.json").exists():
        assert all(process.poll() is None for process in processes), finish(*processes)
        assert time.monotonic() - started < PATIENCE
        time.sleep(0.05)
    processes[victim].send_signal(signal.SIGKILL)
    lost = time.monotonic()
    statuses, outputs = finish(*processes)
    assert time.monotonic() - lost < 90
    assert statuses[1 - victim] == 2, outputs
    assert "another worker was lost" in outputs[1 - victim]
    assert "Traceback" not in outputs[1 - victim]
    statuses, outputs = finish(*start_two(killed, cache_dir))
    assert statuses == [0, 0], outputs
    for stage in ("align", "generate/full_frame"):
        assert history(killed, stage) == history(two_workers[0], stage)


def test_workers_that_differ_are_told_so(tmp_path, cache_dir):
    run_dir = tmp_path / "run"
    ports = free_ports()
    statuses, outputs = finish(
        start(run_dir, cache_dir, 0, ports),
        start(run_dir, cache_dir, 1, ports, align__margin="0.5"),
    )
    assert statuses == [2, 2], outputs
    for output in outputs:
        assert "worker 1 and the chief (worker 0) differ in align.margin;" in output


def test_workers_must_see_one_run_directory(tmp_path, cache_dir):
    ports = free_ports()
    statuses, outputs = finish(
        start(tmp_path / "a", cache_dir, 0, ports), start(tmp_path / "b", cache_dir, 1, ports)
    )
    assert statuses == [2, 2], outputs
    assert all("differ in --run-dir (all workers must see one folder)" in out for out in outputs)


def test_a_worker_alone_gives_up(tmp_path, cache_dir):
    statuses, outputs = finish(
        start(tmp_path / "run", cache_dir, 0, free_ports(), distribute__wait_seconds=1),
        start(tmp_path / "run", cache_dir, distribute__strategy="multi_worker"),
    )
    assert statuses == [2, 2]
    assert "worker 1" in outputs[0] and "did not answer within 1 s" in outputs[0]
    assert "needs a TF_CONFIG" in outputs[1]


def test_too_little_memory_is_told_in_a_line_with_a_way_out():
    strategy, retry = tf.distribute.get_strategy(), "try a smaller --align.batch_size"
    with pytest.raises(UserError, match=f"out of memory; {retry}"), loss_told(strategy, retry):
        tf.zeros([2**46])
    with pytest.raises(tf.errors.InvalidArgumentError), loss_told(strategy):  # others stay
        tf.reshape(tf.zeros([2]), [3])
