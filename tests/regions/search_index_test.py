"""An index of images: what was added is found again, and shards are whole or not at all."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from visem_tf.errors import UserError
from visem_tf.regions import index_shards
from visem_tf.regions.index_shards import EmbeddedRegions, image_vectors
from visem_tf.regions.search_index import SearchIndex, create_index, open_index

KEY = {"model": "m", "digest": "1", "embedding_dim": 8}


def regions(count: int, seed: int = 0) -> EmbeddedRegions:
    generator = np.random.default_rng(seed)
    return EmbeddedRegions(
        generator.normal(size=(count, 3, 8)).astype(np.float16).astype(np.float32),
        generator.uniform(size=(count, 3, 4)).astype(np.float32),
        generator.uniform(size=(count, 3)).astype(np.float32),
        np.arange(3) < generator.integers(1, 4, (count, 1)),
        generator.normal(size=count).astype(np.float32),
    )


def fill(folder: Path, *sizes: int) -> SearchIndex:
    """An index with shards of images 0, 1, 2 …, the shards with seeds 0, 1, 2 …"""
    index = create_index(folder, str(folder), KEY)
    first = 0
    for seed, size in enumerate(sizes):
        names = [f"/{n}.jpg" for n in range(first, first + size)]
        index.add([b"%d" % n for n in range(first, first + size)], names, regions(size, seed))
        first += size
    return index


def assert_same(found: EmbeddedRegions, expected: EmbeddedRegions) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def rows(of: EmbeddedRegions, chosen) -> EmbeddedRegions:
    return EmbeddedRegions(*(part[chosen] for part in of))


def test_what_was_added_is_found_also_after_reopening(tmp_path: Path):
    built = fill(tmp_path / "index", 3, 5)
    both = EmbeddedRegions(*map(np.concatenate, zip(regions(3), regions(5, 1), strict=True)))
    for index in (built, open_index(tmp_path / "index", "index", KEY)):
        assert len(index) == 8
        assert index.keys.tolist() == [b"%d" % n for n in range(8)]
        chosen = np.array([7, 0, 3, 4])
        assert_same(index.gather(chosen), rows(both, chosen))
        assert index.names(chosen) == ["/7.jpg", "/0.jpg", "/3.jpg", "/4.jpg"]
    assert not list((tmp_path / "index").glob(".*"))


def test_vectors_are_between_the_frame_and_the_mean_of_real_regions():
    some = regions(20)
    expected = [
        (each[0] + each[real].mean(axis=0)) / 2
        for each, real in zip(some.embeddings, some.mask, strict=True)
    ]
    np.testing.assert_allclose(image_vectors(some.embeddings, some.mask), expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 4, 10, 99])
def test_candidates_have_the_largest_products(tmp_path: Path, count: int):
    index = fill(tmp_path, 3, 1, 6)
    queries = np.random.default_rng(9).normal(size=(2, 8)).astype(np.float32)
    parts = [regions(size, seed) for seed, size in enumerate((3, 1, 6))]
    vectors = np.concatenate([image_vectors(part.embeddings, part.mask) for part in parts])
    order = np.argsort(-(queries @ vectors.T), axis=1)[:, :count]
    np.testing.assert_array_equal(index.candidates(queries, count), np.sort(order))


def test_a_newer_version_replaces_an_image(tmp_path: Path):
    index = fill(tmp_path, 3, 2)
    newer = regions(2, 7)
    index.add([b"x", b"y"], ["/1.jpg", "/a much longer name.jpg"], newer)
    index.drop_replaced()
    queries = np.ones([1, 8], np.float32)
    for opened in (index, open_index(tmp_path, "index", KEY)):
        assert len(opened) == 6
        found = opened.candidates(queries, 10)
        assert found.tolist() == [[0, 2, 3, 4, 5, 6]]
        assert opened.names(found[0, -2:]) == ["/1.jpg", "/a much longer name.jpg"]
        assert_same(opened.gather(found[0, -2:]), newer)
        assert b"1" not in opened.keys


@pytest.mark.parametrize("name", ["images", "vectors", "regions"])
def test_a_shard_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch, name: str):
    index = fill(tmp_path, 3)
    save = index_shards.save_array

    def fail(path: Path, array: np.ndarray) -> None:
        save(path, array)
        if path.stem == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(index_shards, "save_array", fail)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="No space left") as caught:
        index.add([b"8"], ["/8.jpg"], regions(1))
    assert Path(caught.value.filename).name.startswith("shard-00001-")
    assert sorted(tmp_path.rglob("*")) == before
    assert len(index) == len(open_index(tmp_path, "index", KEY)) == 3


@pytest.mark.parametrize("damage", ["cut", "missing", "content", "other model's"])
def test_a_damaged_shard_is_named_and_removed_by_the_next_build(
    tmp_path: Path, damage: str, capsys
):
    fill(tmp_path, 3, 2)
    shard = sorted(tmp_path.glob("shard-*"))[1]
    file = shard / "regions.npy"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-5])
    elif damage == "missing":
        file.unlink()
    elif damage == "content":
        records = np.load(file)
        records["embeddings"][1, 2, 3] = np.nan
        np.save(file, records)
    else:
        np.save(shard / "vectors.npy", np.zeros([2, 9], np.float16))
    with pytest.raises(UserError, match=f"{shard.name} of the index index is damaged; index its"):
        open_index(tmp_path, "index", KEY).gather(np.arange(5))
    index = create_index(tmp_path, "index", KEY)
    assert f"{shard.name} of the index index is damaged and was removed" in capsys.readouterr().err
    assert len(index) == len(open_index(tmp_path, "index", KEY)) == 3
    index.add([b"3"], ["/3.jpg"], regions(1))
    assert len(open_index(tmp_path, "index", KEY)) == 4


def test_a_limit_of_open_files_neither_damages_nor_removes_a_shard(tmp_path: Path, capsys):
    resource = pytest.importorskip("resource")
    fill(tmp_path, 3, 2)
    before = sorted(tmp_path.rglob("*"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 4, limits[1]))
    try:
        for opening in (create_index, open_index):
            with pytest.raises(OSError, match="Too many open files") as caught:
                opening(tmp_path, "index", KEY)
            assert caught.value.errno == errno.EMFILE
            assert Path(caught.value.filename).suffix == ".npy"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sorted(tmp_path.rglob("*")) == before
    assert len(create_index(tmp_path, "index", KEY)) == 5
    assert not capsys.readouterr().err


def test_damaged_vectors_are_found_by_a_search(tmp_path: Path):
    fill(tmp_path, 3)
    file = next(tmp_path.glob("shard-*/vectors.npy"))
    vectors = np.load(file)
    vectors[2, 0] = np.inf
    np.save(file, vectors)
    index = open_index(tmp_path, "index", KEY)
    with pytest.raises(UserError, match="shard-00000-.* is damaged"):
        index.candidates(np.ones([1, 8], np.float32), 1)


def test_numbers_beyond_half_precision_are_refused(tmp_path: Path):
    index = create_index(tmp_path, "index", KEY)
    large = regions(1)
    large.embeddings[0, 0, 0] = 1e6
    with pytest.raises(UserError, match="beyond half precision"):
        index.add([b"0"], ["/0.jpg"], large)
    assert not list(tmp_path.glob("shard-*"))


def test_only_an_index_of_the_same_model_is_opened(tmp_path: Path):
    with pytest.raises(UserError, match="index here does not exist; build one"):
        open_index(tmp_path / "nowhere", "here", KEY)
    (tmp_path / "notes.txt").touch()
    for opening in (open_index, create_index):
        with pytest.raises(UserError, match=r"here is not an index \(it has no index\.json\)"):
            opening(tmp_path, "here", KEY)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    folder = tmp_path / "index"
    create_index(folder, "here", KEY)
    with pytest.raises(UserError, match="index here has no images; add some"):
        open_index(folder, "here", KEY)
    for opening in (open_index, create_index):
        with pytest.raises(UserError, match=r"built with another model or other regions \(by m\)"):
            opening(folder, "here", {**KEY, "digest": "2"})
    (folder / "index.json").write_text(json.dumps({**KEY, "format": 1}))
    with pytest.raises(UserError, match="has format 1, and this version"):
        create_index(folder, "here", KEY)
    (folder / "index.json").write_text("{")
    with pytest.raises(UserError, match=r"index\.json is damaged .*give another --index"):
        open_index(folder, "here", KEY)
