"""Workers: reading TF_CONFIG, waiting, exchanging values, and whole trainings of two processes."""

import contextlib
import json
import random
import shutil
import signal
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from filelock import FileLock
from fit_process import FitProcess, Work

from visem_tf.config import Config, DistributeConfig
from visem_tf.errors import UserError
from visem_tf.runs.opening import open_run
from visem_tf.runtime import workers
from visem_tf.runtime.workers import (
    Cluster,
    any_worker,
    barrier,
    broadcast_from_chief,
    broadcast_rows_from_chief,
    check_workers_agree,
    read_cluster,
    report_training_errors,
    wait_for_workers,
)

WORKERS = {"worker": ["a:2222", "b:2222"]}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


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
    """Returns unused ports below the range from which the system assigns ports itself."""
    ports = set()
    while len(ports) < count:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.add(port)
    return list(ports)


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


def test_the_chief_decides_on_the_number_of_rows(monkeypatch):
    chiefs = np.arange(6).reshape(3, 2)
    sent = iter([np.array([3]), chiefs])

    def gather(strategy, values):  # as the other workers do, it wants equal shapes
        return np.stack([next(sent), values])

    monkeypatch.setattr(workers, "gather_from_workers", gather)
    found = broadcast_rows_from_chief(tf.distribute.get_strategy(), np.zeros([5, 2], np.int64))
    np.testing.assert_array_equal(found, chiefs)


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


# 30 sentences: the last batch has one pair, so that a worker has none at all. Dropout masks, which
# depend on the number of devices, are left to the generator.
APART = {
    "--align.dropout_regions": 0,
    "--align.dropout_words": 0,
    "--align.dropout_hidden": 0,
    "--regions.features": "pooled",  # one graph of the CNN
    "--align.epochs": 2,
    "--align.batch_size": 29,
    "--align.optimizer": "sgd",
    "--align.learning_rate": 2e-4,
    "--align.finetune_epochs": 2,
    "--align.finetune_from": 8,
    "--align.finetune_batch_size": 5,  # of six images
    "--align.finetune_sentences": 3,
    "--generate.epochs": 2,
    "--generate.batch_size": 29,
    "--generate.regions": "false",
    "--generate.cider_epochs": 2,
    "--generate.cider_batch_size": 5,
    "--generate.cider_samples": 2,
    "--generate.cider_learning_rate": 0.01,
    "--stages": "features,align,generate",
}
JOINT = {
    **APART,
    "--generate.dropout": 0,
    "--generate.image_dropout": 0,
    "--joint.train": "true",
    "--joint.reinfer_every": 1,
    "--align.finetune_epochs": 0,
    "--generate.regions": "true",
    "--stages": "features,align",
}
PROPOSE = {
    "--regions.proposer": "trained",
    "--regions.features": "one_pass",
    "--propose.epochs": 2,
    "--propose.views": 1,
    "--propose.channels": 8,
    "--propose.batch_size": 5,  # of six images
    "--stages": "propose",
}
WITHOUT_DROPOUT = (
    "propose/checkpoints/propose",
    "apart/checkpoints/align",
    "apart/checkpoints/finetune",
    "joint/checkpoints/align",
)
TRAININGS = (
    *WITHOUT_DROPOUT[:3],
    "apart/checkpoints/generate/full_frame",
    "apart/checkpoints/generate/full_frame_cider",
    "joint/checkpoints/align",
)


def command_of(options, run_dir, made, **changes):
    options = {
        "--config": made / "run" / "config.json",
        **options,
        "--run-dir": run_dir,
        "--cache-dir": made / "cache",
        "--distribute.wait_seconds": 120,
        **{f"--{name.replace('__', '.')}": value for name, value in changes.items()},
    }
    return [part for pair in options.items() for part in pair]


def commands_of(folder, made, **changes):
    """The commands of three runs with all trainings, whose run directories lie in a folder."""
    runs = {"propose": PROPOSE, "apart": APART, "joint": JOINT}
    return [
        command_of(options, f"{folder}/{name}", made, **changes) for name, options in runs.items()
    ]


def start_workers(folder, *commands, method="forkserver", killed=(None, None)):
    """Starts workers that write output to a folder; `killed` is one's index and its training."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(len(commands))
    addresses = [f"127.0.0.1:{port}" for port in ports]
    processes = []
    for index, of_worker in enumerate(commands):
        task = {"type": "worker", "index": index}
        environment = {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}
        work = Work(
            of_worker,
            {**QUIET, **environment, "TMPDIR": str(folder)},
            killed_in=killed[1] if killed[0] == index else None,
        )
        processes.append(FitProcess(work, folder / f"worker-{index}.txt", method))
    return processes


def finish(processes):
    """Returns exit statuses and outputs."""
    statuses, outputs = zip(*(process.wait() for process in processes), strict=True)
    return list(statuses), outputs


def history(folder, training):
    return json.loads((folder / training / "progress.json").read_text())["history"]


def last_state(folder, training):
    """The arrays after the last epoch."""
    states = (folder / training).glob("last-*.npz")
    with np.load(max(states, key=lambda path: int(path.stem.split("-")[1]))) as file:
        return {name: file[name] for name in file.files if name != "progress"}


@pytest.fixture(scope="session")
def made(untrained_run, shared_folder):
    """The configuration of the untrained run, and a cache of its own."""
    folder = shared_folder / "workers"
    (folder / "run").mkdir(parents=True, exist_ok=True)
    shutil.copy(untrained_run.path / "config.json", folder / "run")
    return folder


@pytest.fixture(scope="session")
def two_workers(made):
    """A folder with the runs of two workers, and what both of them printed.

    The first process of pytest-xdist that asks for it makes it; the others wait.
    """
    folder = made / "two"
    with FileLock(made / "two.lock"):
        if not folder.exists():
            statuses, outputs = finish(start_workers(folder, *[commands_of(folder, made)] * 2))
            assert statuses == [0, 0], outputs
    return folder, [(folder / f"worker-{index}.txt").read_text() for index in (0, 1)]


@pytest.mark.slow
def test_two_workers_equal_two_devices_and_one(two_workers, tmp_path, made):
    folder, _ = two_workers
    mirrored = commands_of(tmp_path / "mirrored", made, distribute__replicas=2, report__every=0)
    alone = commands_of(tmp_path / "alone", made, distribute__strategy="none", report__every=0)
    stages = alone[1].index("--stages") + 1
    alone[1][stages] = "features,align"  # generators have dropout, and cannot be compared
    processes = [
        FitProcess(Work(mirrored, QUIET), tmp_path / "mirrored.txt"),
        FitProcess(Work(alone, QUIET, eager=True), tmp_path / "alone.txt"),
    ]
    statuses, outputs = finish(processes)
    assert statuses == [0, 0], outputs
    for training in TRAININGS:
        two, devices = (last_state(place, training) for place in (folder, tmp_path / "mirrored"))
        for name in two.keys() | devices.keys():
            np.testing.assert_allclose(two[name], devices[name], rtol=1e-6, atol=1e-7)
        places = {"mirrored": 1e-5}
        if training in WITHOUT_DROPOUT:
            places["alone"] = 1e-4
        for place, tolerance in places.items():
            expected = history(tmp_path / place, training)
            for epoch, other in zip(history(folder, training), expected, strict=True):
                assert epoch == pytest.approx(other, rel=tolerance), (training, place)


@pytest.mark.slow
def test_the_chief_alone_writes_and_reports(two_workers):
    folder, (chief, worker) = two_workers
    assert "alignment: epoch 2/2" in chief and "run directory:" in chief
    assert "epoch" not in worker and "run directory:" not in worker
    assert "[2/3] align: finished" in worker
    assert not list(folder.rglob("*.partial*"))
    for name in ("propose", "apart", "joint"):
        state = json.loads((folder / name / "state.json").read_text())
        assert all(stage["done"] for stage in state["stages"].values())


@pytest.mark.slow
def test_a_lost_worker_ends_the_other_and_a_restart_goes_on(two_workers, tmp_path, made):
    """In every training, with run directories that only the working copies of workers know."""
    remote = (tmp_path / "runs").as_uri()
    commands = [commands_of(remote, made, report__every=0)] * 2
    for number, training in enumerate(TRAININGS):
        lost = (number + 1) % 2  # now a worker, now the chief
        # The joint training has the name of one that has ended.
        name = training.partition("checkpoints/")[2]
        folder = tmp_path / f"start-{number}"
        # The first two end as commands do; the others are forked, which takes less time.
        method = "forkserver" if number else "spawn"
        processes = start_workers(folder, *commands, method=method, killed=(lost, name))
        statuses, outputs = finish(processes)
        assert (statuses[lost], statuses[1 - lost]) == (-signal.SIGKILL, 2), outputs
        assert "another worker was lost" in outputs[1 - lost]
        assert "Traceback" not in outputs[1 - lost]
        assert len(history(tmp_path / "runs", training)) == 1
    statuses, outputs = finish(start_workers(tmp_path / "last", *commands))
    assert statuses == [0, 0], outputs
    for training in TRAININGS:
        assert history(tmp_path / "runs", training) == history(two_workers[0], training)


@pytest.mark.slow
def test_workers_that_differ_are_told_so(tmp_path, made):
    commands = [
        command_of(APART, tmp_path / name, made, align__margin=margin, generate__max_length=length)
        for name, margin, length in (("a", 0.1, 9), ("b", 0.5, 8))
    ]
    statuses, outputs = finish(
        start_workers(tmp_path, *([command] for command in commands), method="spawn")
    )
    assert statuses == [2, 2], outputs
    for output in outputs:
        assert "worker 1 and the chief (worker 0) differ in " in output
        assert "align.margin" in output and "generate.max_length" in output
        assert "--run-dir (all workers must see one folder)" in output


def test_multi_worker_needs_to_know_its_cluster(monkeypatch, tmp_path):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    config = Config(run_dir=str(tmp_path)).updated({"distribute.strategy": "multi_worker"})
    with pytest.raises(UserError, match="needs a TF_CONFIG"):
        open_run(config)
