import os
from pathlib import Path

import numpy as np
import pytest

from visem_tf.config import RegionsConfig
from visem_tf.regions.extractor import Regions
from visem_tf.regions.image_cache import ImageCache, image_cache_folder, image_key


def regions(count: int, seed: int = 0) -> Regions:
    generator = np.random.default_rng(seed)
    return Regions(
        generator.normal(size=(count, 3, 8)).astype(np.float16).astype(np.float32),
        generator.uniform(size=(count, 3, 4)).astype(np.float32),
        generator.uniform(size=(count, 3)).astype(np.float32),
        np.arange(3) < generator.integers(1, 4, (count, 1)),
    )


def test_what_was_added_comes_back_in_any_order_also_after_reopening(tmp_path: Path):
    first, second = regions(2, 1), regions(3, 2)
    cache = ImageCache(tmp_path)
    cache.add([b"a", b"b"], first)
    cache.add([b"c", b"d", b"e"], second)
    for opened in (cache, ImageCache(tmp_path)):
        assert b"d" in opened and b"x" not in opened
        found = opened.gather([b"e", b"a", b"c"])
        for part, one, two in zip(found, first, second, strict=True):
            np.testing.assert_array_equal(part, np.stack([two[2], one[0], two[0]]))


def test_a_damaged_shard_is_passed_over(tmp_path: Path):
    cache = ImageCache(tmp_path)
    cache.add([b"a"], regions(1))
    cache.add([b"b"], regions(1))
    damaged = next(tmp_path.glob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-5])
    reopened = ImageCache(tmp_path)
    assert (b"a" in reopened) != (b"b" in reopened)
    with pytest.raises(KeyError):
        reopened.gather([b"a", b"b"])


@pytest.mark.parametrize("damage", ["empty", "nan", "no region", "size"])
def test_content_is_checked(tmp_path: Path, damage: str):
    ImageCache(tmp_path).add([b"a"], regions(1))
    file = next(tmp_path.glob("*.npy"))
    assert b"a" in ImageCache(tmp_path, 8)
    records = np.load(file)
    if damage == "nan":
        records["region_features"][0, 0, 0] = np.nan
    elif damage == "no region":
        records["region_mask"] = False
    np.save(file, records)
    if damage == "empty":
        file.write_bytes(b"")
    assert b"a" not in ImageCache(tmp_path, 9 if damage == "size" else 8)


def test_a_changed_file_has_another_key(tmp_path: Path):
    path = tmp_path / "one.jpg"
    path.write_bytes(b"12")
    before = image_key(path)
    assert image_key(path) == before and len(before) == 32
    os.utime(path, ns=(1, 1))
    changed = image_key(path)
    path.write_bytes(b"123")
    os.utime(path, ns=(1, 1))
    assert len({before, changed, image_key(path)}) == 3
    with pytest.raises(FileNotFoundError):
        image_key(tmp_path / "absent.jpg")


def test_other_settings_have_another_folder(tmp_path: Path):
    settings = RegionsConfig()
    faster, smaller = RegionsConfig(batch_size=99), RegionsConfig(crop_size=64)
    folder = image_cache_folder(tmp_path, settings)
    assert image_cache_folder(tmp_path, faster) == folder
    assert image_cache_folder(tmp_path, smaller) != folder
