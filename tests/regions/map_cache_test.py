"""The cache of maps: 16 bits, resumed after an interruption, damaged shards computed anew."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.regions import map_cache
from visem_tf.regions.backbone import Maps
from visem_tf.regions.map_cache import MapCache

COUNT = 11


class Numbers:
    """Stands where the CNN would: the maps of an image are filled with its number."""

    def maps(self, pixels):
        number = pixels[:, :1, :1, :1]
        return Maps(
            tf.tile(number, [1, 4, 4, 2]), tf.tile(number, [1, 2, 2, 3]) + 0.5, number / 3.0
        )


class Pixels:
    """Pixels of numbered images, which may break off; `read` counts them."""

    def __init__(self, stop=COUNT):
        self.read = []
        self.stop = stop

    def __call__(self, start):
        def images():
            for number in range(start, COUNT):
                if number >= self.stop:
                    raise RuntimeError("interrupted")
                self.read.append(number)
                yield np.full([2, 2, 3], number, np.float32)

        return tf.data.Dataset.from_generator(
            images, output_signature=tf.TensorSpec([2, 2, 3], tf.float32)
        )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(map_cache, "SHARD_SIZE", 4)


def fill(cache, pixels, batch_size=3):
    cache.fill(pixels, Numbers(), batch_size, "test")


def test_maps_come_back_in_any_order_in_16_bits(tmp_path):
    cache = MapCache(tmp_path, {"a": 1}, COUNT)
    fill(cache, Pixels())
    wanted = np.array([10, 0, 7, 7, 3])
    maps = cache.gather(wanted)
    assert [each.shape for each in maps] == [(5, 4, 4, 2), (5, 2, 2, 3), (5, 1, 1, 1)]
    assert all(each.dtype == np.float32 for each in maps)
    np.testing.assert_array_equal(maps.fine[:, 3, 3, 1], wanted)
    np.testing.assert_array_equal(maps.middle[:, 1, 1, 2], wanted + 0.5)
    np.testing.assert_array_equal(maps.last[:, 0, 0, 0], np.float16(np.float32(wanted) / 3))


def test_a_finished_cache_is_not_computed_again(tmp_path):
    fill(MapCache(tmp_path, {"a": 1}, COUNT), Pixels())
    again = Pixels()
    fill(MapCache(tmp_path, {"a": 1}, COUNT), again)
    assert again.read == []
    fill(MapCache(tmp_path, {"a": 2}, COUNT), again)  # of other images or weights
    assert again.read == list(range(COUNT))


def test_goes_on_where_it_was_interrupted(tmp_path):
    with pytest.raises(tf.errors.OpError, match="interrupted"):
        fill(MapCache(tmp_path, {}, COUNT), Pixels(stop=9))
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.npy")}
    assert len(finished) == 2
    again, cache = Pixels(), MapCache(tmp_path, {}, COUNT)
    fill(cache, again)
    assert again.read == [8, 9, 10]
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())
    np.testing.assert_array_equal(cache.gather(range(COUNT)).fine[:, 0, 0, 0], range(COUNT))


@pytest.mark.parametrize("content", [None, b"", b"no array", "half", "another"])
def test_a_damaged_shard_alone_is_computed_anew(content, tmp_path):
    fill(MapCache(tmp_path, {}, COUNT), Pixels())
    shard = sorted(tmp_path.glob("*/*.npy"))[1]
    if content is None:
        shard.unlink()
    elif content == "another":
        np.save(shard, np.zeros([4, 2]))
    else:
        whole = shard.read_bytes()
        shard.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    cache, again = MapCache(tmp_path, {}, COUNT), Pixels()
    with pytest.raises(UserError, match=r"maps-00001\.npy is missing or damaged; run the stage"):
        cache.gather([5])
    fill(cache, again)
    assert again.read[:4] == [4, 5, 6, 7]
    np.testing.assert_array_equal(cache.gather([5, 9]).fine[:, 0, 0, 0], [5, 9])
