"""The feature cache: the same numbers back, resumed after a kill, refused under another key."""

import json

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.regions import dataset_cache as cache_module
from visem_tf.regions.dataset_cache import (
    FeatureCache,
    Views,
    cache_folder,
    cache_key,
    extract_regions,
)
from visem_tf.regions.extractor import Regions, RegionWeights
from visem_tf.regions.shards import record_fields

COUNT, R, F = 11, 3, 4


class CountingExtractor:
    """Stands where the CNN would: features are the picture's number, and calls are counted."""

    settings = RegionsConfig(picture_size=32, batch_size=4)

    def __init__(self, dies_after=None):
        self.seen = 0
        self.dies_after = dies_after

    def extract_pixels(self, pixels):
        numbers = pixels[:, 0, 0, 0].numpy()
        self.seen += len(numbers)
        if self.dies_after is not None and self.seen > self.dies_after:
            raise KeyboardInterrupt
        shape = (len(numbers), R)
        return Regions(
            np.broadcast_to(numbers[:, None, None], (*shape, F)) + np.arange(R)[None, :, None],
            np.broadcast_to(np.linspace(0, 1, 4, dtype="f4"), (*shape, 4)),
            np.ones(shape, "f4"),
            np.arange(R)[None] < 1 + numbers[:, None] % R,
        )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD_SIZE", 4)


@pytest.fixture
def images():
    return tf.data.Dataset.range(COUNT).map(
        lambda n: tf.io.encode_png(tf.fill([2, 2, 3], tf.cast(n, tf.uint8)))
    )


def build(cache, extractor, images):
    cache.fill(lambda start: extract_regions(extractor, images.skip(start)), "test")


def test_gathers_in_any_order_with_repetition(tmp_path, images):
    cache = FeatureCache(tmp_path, {"a": 1}, COUNT)
    build(cache, CountingExtractor(), images)
    wanted = [10, 0, 7, 7, 3]
    regions = cache.gather(wanted)
    np.testing.assert_array_equal(regions.region_features[:, 0, 0], wanted)
    np.testing.assert_array_equal(regions.region_mask.sum(axis=1), 1 + np.array(wanted) % R)
    assert regions.region_features.dtype == np.float32
    assert (cache.num_regions, cache.feature_dim, len(cache)) == (R, F, COUNT)
    np.testing.assert_array_equal(cache.frame_features()[:, 0], np.arange(COUNT))
    assert cache.gather([]).boxes.shape == (0, R, 4)
    vectors = cache.gather_vectors(np.array(wanted), np.array([1, 0, 2, 0, 1]))
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, regions.region_features[range(5), [1, 0, 2, 0, 1]])
    assert cache.gather_vectors(np.array([], int), np.array([], int)).shape == (0, F)
    assert [len(positions) for positions, _ in cache.batches(5)] == [5, 5, 1]


def test_views_of_two_caches_in_any_order(tmp_path, images):
    caches = [FeatureCache(tmp_path / name, {"a": name}, COUNT) for name in "ab"]
    build(caches[0], CountingExtractor(), images)
    build(caches[1], CountingExtractor(), images)
    views = Views(*caches)
    wanted = np.array([COUNT + 3, 10, COUNT, 0, 2 * COUNT - 1])
    np.testing.assert_array_equal(views.gather(wanted).region_features[:, 0, 0], wanted % COUNT)
    assert views.gather(np.array([], int)).boxes.shape == (0, R, 4)


def test_mirrored_pixels_are_extracted(images):
    class Recorder(CountingExtractor):
        def extract_pixels(self, pixels):
            self.pixels = np.asarray(pixels)
            return

    picture = np.random.default_rng(0).integers(0, 256, [32, 32, 3], dtype=np.uint8)
    encoded = tf.data.Dataset.from_tensors(tf.io.encode_png(picture))
    extractor = Recorder()
    list(extract_regions(extractor, encoded, mirrored=True))
    np.testing.assert_array_equal(extractor.pixels[0], picture[:, ::-1])


def test_features_are_kept_in_half_precision(tmp_path, images):
    build(FeatureCache(tmp_path, {}, COUNT), CountingExtractor(), images)
    record = np.load(next(tmp_path.glob("*.npy")), mmap_mode="r", allow_pickle=False)
    assert record["region_features"].dtype == np.float16


def test_goes_on_where_it_was_interrupted(tmp_path, images):
    dying = CountingExtractor(dies_after=8)
    with pytest.raises(KeyboardInterrupt):
        build(FeatureCache(tmp_path, {}, COUNT), dying, images)
    finished = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.npy")}
    assert finished and not list(tmp_path.glob(".*partial*"))
    cache = FeatureCache(tmp_path, {}, COUNT)
    again = CountingExtractor()
    build(cache, again, images)
    assert again.seen == COUNT - 4 * len(finished)
    assert all((tmp_path / name).stat().st_mtime_ns == t for name, t in finished.items())
    np.testing.assert_array_equal(cache.gather(range(COUNT)).region_features[:, 0, 0], range(COUNT))


def test_a_finished_cache_is_not_computed_again(tmp_path, images):
    build(FeatureCache(tmp_path, {}, COUNT), CountingExtractor(), images)
    idle = CountingExtractor()
    build(FeatureCache(tmp_path, {}, COUNT), idle, images)
    assert idle.seen == 0


def test_a_damaged_shard_is_computed_anew(tmp_path, images):
    build(FeatureCache(tmp_path, {}, COUNT), CountingExtractor(), images)
    shard = sorted(tmp_path.glob("*.npy"))[1]
    shard.write_bytes(shard.read_bytes()[:100])
    cache = FeatureCache(tmp_path, {}, COUNT)
    assert cache.missing() == [1]
    with pytest.raises(UserError, match="missing or damaged; run the stage features"):
        cache.gather([5])
    build(cache, CountingExtractor(), images)
    assert cache.gather([5]).region_features[0, 0, 0] == 5


def test_the_key_has_the_content_of_the_proposer(tmp_path):
    def key(content, name="proposer.npz", **options):
        path = tmp_path / name
        path.write_bytes(content)
        settings = RegionsConfig(proposer="trained", **options)
        return cache_key(settings, "d", "i", "val", RegionWeights(proposer=path))

    first = key(b"one")
    assert key(b"one", "moved.npz") == first and key(b"two") != first
    given = key(b"unused", "unused.npz", proposer_file=str(tmp_path / "moved.npz"))
    assert given == first
    with pytest.raises(UserError, match=r"cannot read the weights .*none\.npz: No such file.*give"):
        key(b"", proposer_file=str(tmp_path / "none.npz"))
    windows = cache_key(RegionsConfig(), "d", "i", "val", RegionWeights(proposer=tmp_path))
    assert windows == cache_key(RegionsConfig(), "d", "i", "val")  # which reads no file


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("region_features", np.nan),
        ("region_features", -np.inf),
        ("boxes", np.nan),
        ("scores", np.inf),
        ("region_mask", False),
    ],
)
def test_the_content_of_shards_is_checked(tmp_path, images, field, value):
    build(FeatureCache(tmp_path, {}, COUNT), CountingExtractor(), images)
    shard = sorted(tmp_path.glob("*.npy"))[1]
    records = np.load(shard)
    records[field][2] = value
    np.save(shard, records)
    assert FeatureCache(tmp_path, {}, COUNT).missing() == [1]


def test_shards_of_another_feature_size_are_computed_again(tmp_path, images):
    build(FeatureCache(tmp_path, {}, COUNT), CountingExtractor(), images)
    assert FeatureCache(tmp_path, {}, COUNT, F).missing() == []
    assert FeatureCache(tmp_path, {}, COUNT, F + 1).missing() == [0, 1, 2]
    shard = sorted(tmp_path.glob("*.npy"))[2]
    records = np.zeros(len(np.load(shard)), record_fields(R, F + 1))
    records["region_mask"] = True
    np.save(shard, records)
    assert FeatureCache(tmp_path, {}, COUNT).missing() == [2]
    shard.write_bytes(b"")
    assert FeatureCache(tmp_path, {}, COUNT).missing() == [2]


def test_nothing_is_unpickled(tmp_path, images):
    build(FeatureCache(tmp_path, {}, COUNT), CountingExtractor(), images)
    shard = sorted(tmp_path.glob("*.npy"))[0]
    with shard.open("wb") as file:
        np.save(file, np.array([{"code": 1}] * 4, object), allow_pickle=True)
    assert FeatureCache(tmp_path, {}, COUNT).missing() == [0]


@pytest.mark.parametrize(
    ("feature", "message"),
    [(np.nan, "contain NaN or infinity"), (1e6, "go up to 1e[+]06, beyond half precision")],
)
def test_features_that_half_precision_cannot_hold_are_refused(tmp_path, feature, message):
    shape = (COUNT, R)
    block = Regions(
        np.full((*shape, F), feature), np.zeros((*shape, 4)), np.ones(shape), np.ones(shape, bool)
    )
    with pytest.raises(UserError, match=message):
        FeatureCache(tmp_path, {}, COUNT).fill(lambda start: iter([block]), "test")


def test_the_key_holds_what_features_depend_on(tmp_path):
    base = cache_key(RegionsConfig(), "flickr8k", "print", "val")
    folders = {
        cache_folder(tmp_path, key)
        for key in (
            base,
            cache_key(RegionsConfig(crop_size=64), "flickr8k", "print", "val"),
            cache_key(RegionsConfig(), "flickr8k", "other", "val"),
            cache_key(
                RegionsConfig(proposer_backbone="efficientnet_lite2"), "flickr8k", "print", "val"
            ),
            cache_key(RegionsConfig(), "flickr8k", "print", "test"),
            {**base, "weights": "other"},
        )
    }
    assert len(folders) == 6
    same = RegionsConfig(proposer_backbone="efficientnet_lite0")
    assert cache_key(same, "flickr8k", "print", "val") == base
    assert cache_key(RegionsConfig(batch_size=2), "flickr8k", "print", "val") == base
    assert json.loads(json.dumps(base)) == base
