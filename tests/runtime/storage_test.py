"""Data on a storage that has no disk paths: the in-memory one of fsspec, `memory://`."""

import json
import os
import sys
import uuid
from pathlib import Path

import pytest

import dummy_data
from dummy_data import precomputed as features_of
from visem_tf import convert, publish, validate
from visem_tf.datasets.loading import load_dataset
from visem_tf.errors import UserError
from visem_tf.metrics.caption_files import read_captions
from visem_tf.metrics.embedding_files import read_vectors
from visem_tf.models.word_vectors import read_word_vectors
from visem_tf.regions.dataset_cache import file_digest
from visem_tf.runtime.arrays import read_arrays
from visem_tf.runtime.files import atomic_path, write_atomically
from visem_tf.runtime.storage import absolute, as_path, file_version, is_remote, read_regular
from visem_tf.text import SPECIAL_WORDS, Vocabulary

PICTURES = dummy_data.draw_images(train=3, val=2, test=2)
FAST = ["coco_json"]
SLOW = [
    "sidecar_txt",
    "flickr8k",
    "flickr30k",
    "coco",
    "visual_genome",
    "karpathy_json",
    "captions_txt",
    "json_lines",
    "webdataset",
]
FORMATS = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture
def remote():
    """A folder of its own in memory."""
    return f"memory://{uuid.uuid4().hex}"


def upload(folder, remote):
    for path in folder.rglob("*"):
        if path.is_file():
            target = as_path(f"{remote}/{path.relative_to(folder).as_posix()}")
            target.write_bytes(path.read_bytes())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_from_there(name, remote, tmp_path):
    dummy_data.write(name, tmp_path / "data", PICTURES)
    upload(tmp_path / "data", remote)
    here = load_dataset(name, cache_dir=tmp_path / "a", data_dir=tmp_path / "data")
    there = load_dataset(name, cache_dir=tmp_path / "b", data_dir=remote)
    assert here.problems == there.problems
    for split in ("train", "val", "test"):
        one, other = here.splits[split], there.splits[split]
        assert (one.image_ids, one.sentences) == (other.image_ids, other.sentences)
        pictures = (part.pictures().as_numpy_iterator() for part in (one, other))
        assert all(a == b for a, b in zip(*pictures, strict=True))


@pytest.mark.parametrize("form", ["write_vgg_feats", "write_precomp", "write_bottom_up"])
def test_features_are_read_from_there(form, remote, tmp_path):
    getattr(features_of, form)(tmp_path, PICTURES)
    upload(tmp_path, remote)
    here = load_dataset("precomputed", cache_dir=tmp_path, data_dir=tmp_path)
    there = load_dataset("precomputed", cache_dir=tmp_path, data_dir=remote)
    for split in ("train", "val", "test"):
        one, other = here.splits[split], there.splits[split]
        for a, b in zip(one.regions.blocks(0), other.regions.blocks(0), strict=True):
            assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_validate_reads_and_writes_there(remote, tmp_path, capsys):
    dummy_data.write("coco_json", tmp_path / "data", PICTURES)
    (tmp_path / "data" / "images" / PICTURES[0].name).write_bytes(b"text")
    upload(tmp_path / "data", remote)
    with pytest.raises(SystemExit) as end:
        validate.main(
            ["--dataset", "coco_json", "--data-dir", remote, "--json", f"{remote}/report.json"]
        )
    assert end.value.code == 1
    assert f"train: {PICTURES[0].name}: not an image in a known format" in capsys.readouterr().out
    report = json.loads(as_path(f"{remote}/report.json").read_bytes())
    assert report["splits"]["train"]["pictures"] == 2


def test_converting_writes_there(remote, tmp_path):
    dummy_data.write("coco_json", tmp_path / "data", PICTURES)
    command = ["--dataset", "coco_json", "--data-dir", str(tmp_path / "data"), "--format", "coco"]
    command += ["--cache-dir", str(tmp_path / "cache"), "--to", f"{remote}/new"]
    convert.main(command)
    data = load_dataset("coco_json", cache_dir=tmp_path / "cache", data_dir=f"{remote}/new")
    assert sum(len(split.image_ids) for split in data.splits.values()) == len(PICTURES)


def test_files_are_written_whole_or_not_at_all(remote):
    target = as_path(f"{remote}/folder/words.txt")
    write_atomically(target, "first")
    with pytest.raises(KeyError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert target.read_text() == "first"
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("second")
    assert target.read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["words.txt"]


def test_what_is_not_there_is_the_users_mistake(remote, tmp_path):
    with pytest.raises(UserError, match=f"{remote}/none is not a folder"):
        load_dataset("coco_json", cache_dir=tmp_path, data_dir=f"{remote}/none")
    with pytest.raises(FileNotFoundError):
        as_path(f"{remote}/none.txt").read_bytes()


def test_an_unknown_scheme_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="cannot use nothing://bucket/data: Protocol not known"):
        load_dataset("coco_json", cache_dir=tmp_path, data_dir="nothing://bucket/data")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_devices_and_pipes_are_never_read(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        for read in (
            read_regular,
            read_arrays,
            read_vectors,
            read_captions,
            file_digest,
            lambda place: read_word_vectors(str(place), Vocabulary([*SPECIAL_WORDS, "a"])),
        ):
            with pytest.raises((OSError, UserError), match="not a regular file"):
                read(path)
        with pytest.raises(UserError, match="not a regular file"):
            publish.main(["--to", str(tmp_path / "to"), "--card", str(path)])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match="cannot use s3://bucket/data: .*s3fs"):
        absolute("s3://bucket/data")


def test_a_changed_file_has_another_version(remote, tmp_path):
    for path in (as_path(f"{remote}/words.txt"), tmp_path / "words.txt"):
        write_atomically(path, "one")
        before = file_version(path)
        assert file_version(path) == before
        write_atomically(path, "two!")
        assert file_version(path) != before
        with pytest.raises(FileNotFoundError):
            file_version(path.parent / "none.txt")


def test_remote_paths_are_not_made_absolute():
    assert is_remote("memory://bucket/data/")
    assert absolute("memory://bucket/data/") == "memory://bucket/data"
    assert absolute("/data/") == "/data"
