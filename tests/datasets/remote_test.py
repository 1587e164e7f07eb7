"""Data on a storage that has no disk paths: TensorFlow's own in-memory one, `ram://`."""

import builtins
import json
import uuid

import pytest
import tensorflow as tf

import dummy_data
from dummy_data import precomputed as features_of
from visem_tf import convert, validate
from visem_tf.datasets.loading import load_dataset
from visem_tf.errors import UserError
from visem_tf.runtime.files import atomic_path, write_atomically
from visem_tf.runtime.storage import StoredPath, absolute, as_path

PICTURES = dummy_data.draw_images(train=3, val=2, test=2)
FORMATS = [
    "flickr8k", "flickr30k", "coco", "visual_genome", "coco_json", "karpathy_json", "captions_txt",
    "sidecar_txt", "json_lines",
]  # fmt: skip


@pytest.fixture
def remote():
    """A folder of its own in memory."""
    return f"ram://{uuid.uuid4().hex}"


def upload(folder, remote):
    for path in folder.rglob("*"):
        if path.is_file():
            target = f"{remote}/{path.relative_to(folder).as_posix()}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            with tf.io.gfile.GFile(target, "wb") as file:
                file.write(path.read_bytes())


@pytest.fixture
def no_open(monkeypatch):
    """Makes Python's own `open` fail on remote paths, whatever it would make of them."""
    real = builtins.open

    def guarded(path, *arguments, **options):
        assert "ram:" not in str(path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", guarded)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.usefixtures("no_open")
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
@pytest.mark.usefixtures("no_open")
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
    assert f"train: {PICTURES[0].name}: no picture in a known format" in capsys.readouterr().out
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
    target = StoredPath(f"{remote}/folder/words.txt")
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
    with pytest.raises(UserError, match=f"{remote}/none is no folder"):
        load_dataset("coco_json", cache_dir=tmp_path, data_dir=f"{remote}/none")
    with pytest.raises(UserError, match=r"nothing://.*(no folder|cannot read)"):
        load_dataset("coco_json", cache_dir=tmp_path, data_dir="nothing://bucket/data")
    with pytest.raises(FileNotFoundError):
        StoredPath(f"{remote}/none.txt").read_bytes()


def test_remote_paths_are_not_made_absolute():
    assert absolute("gs://bucket/data/") == "gs://bucket/data"
