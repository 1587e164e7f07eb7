"""Run directories and caches on other storages: in memory, and on the disk through `file://`."""

import io
import json
import shutil
import uuid
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import quick_stages
from visem_tf import describe, fit, search
from visem_tf.datasets.scenes.renderer import encode_jpeg, render
from visem_tf.datasets.scenes.sampling import sample_scene
from visem_tf.errors import UserError
from visem_tf.runs import indexing
from visem_tf.runs.indexing import index_of
from visem_tf.runs.model_files import open_model_files
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runs.run_view import run_view
from visem_tf.runtime.files import atomic_path, save_array, write_atomically
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.working_copy import WorkingCopy, send_copies, working_copy
from visem_tf.stages.compare_systems import read_run_evidence


@pytest.fixture
def remote():
    """A folder of its own in memory."""
    return as_path(f"memory://{uuid.uuid4().hex}")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_there_is_found_in_the_copy(remote):
    (remote / "run" / "state.json").write_bytes(b"{}")
    (remote / "run" / "checkpoints" / "align" / "best.keras").write_bytes(b"weights")
    (remote / "runner.txt").write_bytes(b"of another folder")
    local = working_copy(remote / "run")
    assert (local / "checkpoints" / "align" / "best.keras").read_bytes() == b"weights"
    assert (local / "state.json").read_text() == "{}"
    assert names_in(local) == ["checkpoints", "state.json"]
    assert working_copy(str(remote / "run")) == local


def test_a_finished_file_is_stored_at_once_with_all_that_changed(remote):
    local = working_copy(remote)
    (local / "events").mkdir()
    (local / "events" / "events.1").write_bytes(b"loss")  # as other libraries write
    save_array(local / "deep" / "down" / "array.npy", np.arange(3))
    assert (remote / "events" / "events.1").read_bytes() == b"loss"
    stored = (remote / "deep" / "down" / "array.npy").read_bytes()
    np.testing.assert_array_equal(np.load(io.BytesIO(stored)), [0, 1, 2])


def test_half_written_files_stay_here(remote):
    local = working_copy(remote)
    with pytest.raises(KeyError), atomic_path(local / "half.txt") as temporary:
        temporary.write_text("half")
        write_atomically(local / "whole.txt", "whole")
        raise KeyError
    (local / ".ab.partial").mkdir()
    (local / ".ab.partial" / "model.pb").write_bytes(b"half")
    write_atomically(local / "more.txt", "more")
    assert names_in(remote) == ["more.txt", "whole.txt"]


def test_what_is_removed_or_changed_here_is_so_there(remote):
    local = working_copy(remote)
    write_atomically(local / "last-1.npz", b"one")
    write_atomically(local / "progress.json", "1")
    (local / "last-1.npz").unlink()
    write_atomically(local / "progress.json", "2")
    assert names_in(remote) == ["progress.json"]
    assert (remote / "progress.json").read_text() == "2"


def test_what_another_program_removes_from_a_copy_stays_there(remote, capsys):
    (remote / "config.json").write_bytes(b"{}")
    (remote / "checkpoints" / "best.keras").write_bytes(b"weights")
    copy = WorkingCopy(remote)
    write_atomically(copy.path / "state.json", "{}")
    copy.send()
    for path in sorted(copy.path.parent.rglob("*")):  # of a week ago
        if path.is_file() and path.name != "state.json":
            path.unlink()
    write_atomically(copy.path / "state.json", "[]")
    copy.send()
    assert f"another program has removed files from {copy.path}" in capsys.readouterr().err
    shutil.rmtree(copy.path.parent)
    copy.send()
    assert names_in(remote) == ["checkpoints", "config.json", "state.json"]
    assert (remote / "checkpoints" / "best.keras").read_bytes() == b"weights"
    assert (remote / "state.json").read_text() == "[]"


def test_a_read_only_copy_sends_nothing_until_it_is_opened_for_writing(remote):
    (remote / "old.txt").write_bytes(b"old")
    local = working_copy(remote, read_only=True)
    write_atomically(local / "new.txt", "new")
    send_copies()
    assert names_in(remote) == ["old.txt"]
    assert working_copy(remote) == working_copy(remote, read_only=True) == local
    (local / "old.txt").unlink()
    write_atomically(local / "newer.txt", "newer")
    assert names_in(remote) == ["new.txt", "newer.txt"]


@pytest.mark.parametrize("name", ["model", "view", "index", "evidence"])
def test_what_is_only_read_stays_there(remote, name, monkeypatch):
    (remote / "config.json").write_bytes(b"{}")
    if name == "model":
        open_model_files(str(remote))
    elif name == "view":
        with run_view(str(remote)):
            pass
    elif name == "index":
        monkeypatch.setattr(indexing, "_model_key", lambda run: {})
        with pytest.raises(UserError, match="is not an index"):
            index_of(None, str(remote))
    else:
        with pytest.raises(UserError, match="has no evidence_test"):
            read_run_evidence(str(remote), "test")
    (working_copy(remote, read_only=True) / "config.json").unlink()
    send_copies()
    assert names_in(remote) == ["config.json"]


def test_workers_find_what_the_others_have_written(remote):
    (remote / "old.txt").write_bytes(b"old")
    chief, worker = WorkingCopy(remote), WorkingCopy(remote)
    write_atomically(chief.path / "deep" / "last-1.npz", "one")
    write_atomically(chief.path / "best.keras", "one")
    chief.send()
    worker.fetch()
    assert (worker.path / "deep" / "last-1.npz").read_text() == "one"
    write_atomically(worker.path / "shard.npy", "features")
    write_atomically(chief.path / "best.keras", "two")
    (chief.path / "deep" / "last-1.npz").unlink()
    for copy in (chief, worker):
        copy.send()
    for copy in (chief, worker):
        copy.fetch()
        assert names_in(copy.path) == ["best.keras", "deep", "old.txt", "shard.npy"]
        assert not names_in(copy.path / "deep")
        assert (copy.path / "best.keras").read_text() == "two"


def test_a_worker_neither_sends_back_nor_fetches_its_own_files(remote):
    chief, worker = WorkingCopy(remote), WorkingCopy(remote)
    write_atomically(chief.path / "best.keras", "one")
    before = (chief.path / "best.keras").stat().st_ino
    chief.send()
    sent = remote.fs.info((remote / "best.keras").path)
    for copy in (chief, worker):
        copy.fetch()
        copy.send()
    assert (chief.path / "best.keras").stat().st_ino == before
    assert remote.fs.info((remote / "best.keras").path) == sent


def test_a_file_that_is_removed_while_it_is_fetched_is_left_out(remote, monkeypatch):
    worker = WorkingCopy(remote)
    for name in ("last-1.npz", "last-2.npz"):
        (remote / name).write_bytes(b"state")
    get_file = remote.fs.get_file

    def remove_first(path, *arguments):
        (remote / "last-1.npz").unlink(missing_ok=True)
        get_file(path, *arguments)

    monkeypatch.setattr(type(remote.fs), "get_file", lambda fs, *given: remove_first(*given))
    worker.fetch()
    assert names_in(worker.path) == ["last-2.npz"]


def test_a_folder_of_the_disk_is_itself(tmp_path):
    assert working_copy(tmp_path) == tmp_path
    assert working_copy("~") == Path.home()


def test_a_run_directory_keeps_the_address_that_the_user_gave(remote):
    run = RunDirectory(str(remote))
    assert run.address == str(remote)
    assert run.path.is_dir()


def test_an_unknown_storage_is_the_users_mistake():
    with pytest.raises(UserError, match="cannot use nothing://bucket/run"):
        RunDirectory("nothing://bucket/run")


@pytest.mark.slow
def test_a_run_that_was_trained_there_is_whole(tmp_path, tiny_run, capsys):
    def options(place):
        config = ["--config", str(tiny_run.path / "config.json")]
        return [*config, "--run-dir", f"{place}/run", "--cache-dir", f"{place}/cache"]

    with quick_stages():  # as the other run was trained
        fit.main([*options(tmp_path.as_uri()), "--stages", "features,align"])
    features = [
        path for path in (tmp_path / "cache" / "features").iterdir() if "train" in path.name
    ]
    assert [name[:13] for path in features for name in names_in(path)] == [
        "key.json",
        "regions-00000",
    ]
    before = (tmp_path / "run/checkpoints/align/best.keras").read_bytes()
    capsys.readouterr()
    with quick_stages():
        fit.main([*options(tmp_path), "--stages", "features,align,infer"])
    assert "align: finished before, skipped" in capsys.readouterr().out
    lines = (tmp_path / "run/alignments.jsonl").read_text(encoding="utf-8")
    assert lines == (tiny_run.path / "alignments.jsonl").read_text(encoding="utf-8")
    assert (tmp_path / "run/checkpoints/align/best.keras").read_bytes() == before


@pytest.mark.slow
def test_pictures_are_described_and_found_there(remote, tiny_run, capsys):
    scenes = [encode_jpeg(render(sample_scene(seed=3, split="test", index=n))) for n in range(2)]
    for number, encoded in enumerate(scenes):
        (remote / "photos" / "deep" / f"{number}.jpg").write_bytes(encoded)
    (remote / "photos" / "notes.txt").write_bytes(b"no picture")
    (remote / "boxes.json").write_bytes(b'{"0.jpg": [[0.1, 0.1, 0.9, 0.9]]}')
    describe.main(
        [
            *tiny_run.options,
            f"{remote}/photos",
            "--boxes",
            f"{remote}/boxes.json",
            "--json",
            f"{remote}/said.json",
            "--picture",
            f"{remote}/drawn",
        ]
    )
    said = json.loads((remote / "said.json").read_text())
    assert [item["image"] for item in said] == [f"{remote}/photos/deep/{n}.jpg" for n in range(2)]
    assert len(names_in(remote / "drawn")) == 2
    command = [*tiny_run.options, "--images", f"{remote}/photos", "a red ball"]
    search.main([*command, "--json", f"{remote}/found.json", "--picture", f"{remote}/seen"])
    [found] = json.loads((remote / "found.json").read_text())
    assert {picture["image"] for picture in found["pictures"]} == {item["image"] for item in said}
    assert len(names_in(remote / "seen")) == 2
