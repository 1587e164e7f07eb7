import os
from pathlib import Path

import numpy as np
import pytest

from visem_tf.config import RegionsConfig
from visem_tf.regions.extractor import Regions
from visem_tf.regions.image_cache import RegionStore, identity, store_folder


def regions(count: int, seed: int = 0) -> Regions:
    generator = np.random.default_rng(seed)
    return Regions(
        generator.normal(size=(count, 3, 8)).astype(np.float16).astype(np.float32),
        generator.uniform(size=(count, 3, 4)).astype(np.float32),
        generator.uniform(size=(count, 3)).astype(np.float32),
        generator.uniform(size=(count, 3)) > 0.3,
    )


def test_what_was_added_comes_back_in_any_order_also_after_reopening(tmp_path: Path):
    first, second = regions(2, 1), regions(3, 2)
    store = RegionStore(tmp_path)
    store.add([b"a", b"b"], first)
    store.add([b"c", b"d", b"e"], second)
    for opened in (store, RegionStore(tmp_path)):
        assert b"d" in opened and b"x" not in opened
        found = opened.gather([b"e", b"a", b"c"])
        for part, one, two in zip(found, first, second, strict=True):
            np.testing.assert_array_equal(part, np.stack([two[2], one[0], two[0]]))


def test_a_damaged_shard_is_passed_over(tmp_path: Path):
    store = RegionStore(tmp_path)
    store.add([b"a"], regions(1))
    store.add([b"b"], regions(1))
    damaged = next(tmp_path.glob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-5])
    reopened = RegionStore(tmp_path)
    assert (b"a" in reopened) != (b"b" in reopened)
    with pytest.raises(KeyError):
        reopened.gather([b"a", b"b"])


def test_a_changed_file_has_another_identity(tmp_path: Path):
    path = tmp_path / "one.jpg"
    path.write_bytes(b"12")
    before = identity(path)
    assert identity(path) == before and len(before) == 32
    os.utime(path, ns=(1, 1))
    changed = identity(path)
    path.write_bytes(b"123")
    os.utime(path, ns=(1, 1))
    assert len({before, changed, identity(path)}) == 3
    with pytest.raises(FileNotFoundError):
        identity(tmp_path / "absent.jpg")


def test_other_settings_have_another_folder(tmp_path: Path):
    settings = RegionsConfig()
    assert store_folder(tmp_path, settings) == store_folder(tmp_path, settings)
    assert store_folder(tmp_path, settings) != store_folder(tmp_path, RegionsConfig(crop_size=64))
    faster = RegionsConfig(batch_size=99)
    assert store_folder(tmp_path, settings) == store_folder(tmp_path, faster)
