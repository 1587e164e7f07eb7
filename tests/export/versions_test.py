"""New versions of an export appear complete, and replace others without a gap."""

import threading
import time
from pathlib import Path

import pytest

from visem_tf.export.versions import new_version


def test_readers_never_see_a_partial_version(tmp_path: Path):
    to, seen, ended = tmp_path / "to", [], threading.Event()
    to.mkdir()

    def poll() -> None:
        while not ended.is_set():
            for path in to.iterdir():
                if path.name.isdecimal():
                    seen.append(sorted(file.name for file in path.iterdir()))

    poller = threading.Thread(target=poll)
    poller.start()
    for _ in range(6):
        with new_version(to) as paths:
            paths[0].mkdir()
            for name in "abc":
                (paths[0] / name).touch()
                time.sleep(0.002)
    ended.set()
    poller.join()
    assert seen and {tuple(names) for names in seen} == {("a", "b", "c")}
    assert sorted(path.name for path in to.iterdir()) == list("123456")


def test_a_full_disk_is_told_with_the_folder(tmp_path):
    with pytest.raises(OSError, match="No space") as raised, new_version(tmp_path) as paths:
        raise OSError(28, "No space left on device", str(paths[0] / "export.json"))
    assert raised.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_replaced_is_always_there(tmp_path: Path):
    (tmp_path / "1").mkdir()
    missing, ended = [], threading.Event()

    def poll() -> None:
        while not ended.is_set():
            if not (tmp_path / "1").is_dir():
                missing.append(time.monotonic())

    poller = threading.Thread(target=poll)
    poller.start()
    for _ in range(300):
        with new_version(tmp_path, 1) as paths:
            paths[0].mkdir()
    ended.set()
    poller.join()
    assert missing == []
