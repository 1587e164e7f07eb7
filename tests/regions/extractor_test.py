"""From encoded images to regions, and the features of single crops as the reference."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from visem_tf.config import RegionsConfig
from visem_tf.images.prepare import prepare_image
from visem_tf.regions.extractor import FRAME, RegionExtractor
from visem_tf.regions.positions import with_positions

pytestmark = pytest.mark.usefixtures("quick")

SETTINGS = {"picture_size": 128, "frame_size": 96, "crop_size": 64, "num_regions": 5}


def encoded(seed, size=(90, 70)):
    """A PNG of coloured rectangles."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(0, 255, 3).tolist()))
    for _ in range(6):
        x, y = rng.integers(0, 60, 2).tolist()
        patch = Image.new("RGB", (20, 15), tuple(rng.integers(0, 255, 3).tolist()))
        image.paste(patch, (x, y))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def extractor():
    return RegionExtractor(RegionsConfig(**SETTINGS))


def test_region_zero_is_the_frame_and_shapes_fit(extractor):
    regions = extractor.extract([encoded(0), encoded(1), encoded(2, (33, 200))])
    assert regions.region_features.shape == (3, 5, 1280)
    assert regions.boxes.shape == (3, 5, 4) and regions.region_mask.all()
    np.testing.assert_array_equal(regions.boxes[:, 0], np.tile(FRAME, (3, 1)))
    np.testing.assert_array_equal(regions.scores[:, 0], regions.scores[:, 1])


def test_a_region_is_encoded_by_the_cnn_on_its_crop(extractor):
    """The reference goes another way: TensorFlow's slicing and resizing, one crop at a time."""
    pixels = prepare_image(tf.constant(encoded(3)), 128)
    box = [32 / 128, 16 / 128, 96 / 128, 80 / 128]
    found = extractor.extract_boxes(pixels[None], tf.constant([[FRAME, box]]))[0]
    crop = pixels[32:96, 16:80]  # 64 x 64: cut out, not resized
    expected = extractor.backbone.features(crop[None])[0]
    np.testing.assert_allclose(found[1], expected, atol=2e-2)
    frame = tf.image.resize(pixels, [96, 96], antialias=True)
    np.testing.assert_allclose(found[0], extractor.backbone.features(frame[None])[0], atol=1e-2)


def test_neighbours_in_a_batch_change_nothing(extractor):
    together = extractor.extract([encoded(4), encoded(5)])
    alone = extractor.extract([encoded(5)])
    np.testing.assert_allclose(together.boxes[1], alone.boxes[0], atol=1e-6)
    np.testing.assert_allclose(together.region_features[1], alone.region_features[0], atol=1e-3)


def test_pooled_features_of_the_frame_are_the_mean_of_the_map():
    extractor = RegionExtractor(RegionsConfig(**SETTINGS, features="pooled", proposer="grid"))
    pixels = prepare_image(tf.constant(encoded(6)), 128)
    regions = extractor(pixels[None])
    cells = extractor.backbone.feature_map(pixels[None])
    np.testing.assert_allclose(
        regions.region_features[0, 0], tf.reduce_mean(cells, axis=[1, 2])[0], atol=1e-4
    )


def test_features_from_one_pass_are_the_last_blocks_on_parts_of_the_map():
    extractor = RegionExtractor(RegionsConfig(**SETTINGS, features="one_pass", proposer="grid"))
    pixels = prepare_image(tf.constant(encoded(6)), 128)[None]
    box = [0.25, 0.5, 0.75, 1.0]
    boxes = tf.constant([[FRAME, FRAME, box]])
    found = extractor.extract_boxes(pixels, boxes)[0]
    maps = extractor.backbone.maps(pixels)
    np.testing.assert_allclose(found[0], tf.reduce_mean(maps.last, axis=[1, 2])[0], atol=1e-4)
    # The map of 128 pixels has 8 x 8 cells, as many as are sampled in every box.
    whole = tf.reduce_mean(extractor.backbone.tail(maps.middle), axis=[1, 2])[0]
    np.testing.assert_allclose(found[1], whole, atol=1e-3)
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
    part = tf.image.resize(maps.middle[:, 2:6, 4:8], [8, 8])
    expected = tf.reduce_mean(extractor.backbone.tail(part), axis=[1, 2])[0].numpy()
    alike = np.corrcoef([found[2], expected, found[0]])[0]
    assert alike[1] > 0.95 > alike[2]  # samples at the border of the box see its neighbours


def test_one_pass_reads_the_map_at_the_size_of_a_crop():
    settings = {**SETTINGS, "picture_size": 256}
    extractor = RegionExtractor(RegionsConfig(**settings, features="one_pass", proposer="grid"))
    pixels = prepare_image(tf.constant(encoded(6)), 256)[None]
    found = extractor.extract_boxes(pixels, tf.constant([[FRAME, FRAME]]))[0, 1]
    resized = tf.image.resize(extractor.backbone.maps(pixels).middle, [8, 8], antialias=True)
    expected = tf.reduce_mean(extractor.backbone.tail(resized), axis=[1, 2])[0]
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("features", ["crops", "one_pass", "pooled"])
def test_positions_follow_the_features_of_every_kind(features):
    options = {**SETTINGS, "features": features, "proposer": "grid"}
    plain = RegionExtractor(RegionsConfig(**options)).extract([encoded(8)])
    extractor = RegionExtractor(RegionsConfig(**options, position=True))
    regions = extractor.extract([encoded(8)])
    assert regions.region_features.shape == (1, 5, 1280 + 36) and extractor.feature_dim == 1316
    np.testing.assert_allclose(
        regions.region_features[..., :1280], plain.region_features, atol=1e-4
    )
    expected = with_positions(plain.region_features, regions.boxes)
    np.testing.assert_allclose(regions.region_features, expected, atol=1e-3)
    pixels = prepare_image(tf.constant(encoded(8)), 128)[None]
    np.testing.assert_allclose(
        extractor.extract_frames(pixels)[0], regions.region_features[0, 0], atol=1e-3
    )


def test_another_cnn_may_propose_the_boxes():
    options = {**SETTINGS, "proposer": "trained", "features": "one_pass"}
    one = RegionExtractor(RegionsConfig(**options))
    two = RegionExtractor(
        RegionsConfig(
            **options, backbone="efficientnet_lite2", proposer_backbone="efficientnet_lite0"
        )
    )
    pixels = prepare_image(tf.constant(encoded(9)), 128)[None]
    expected, found = one(pixels), two(pixels)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    frame = two.backbone.features(pixels)[0]
    np.testing.assert_allclose(found.region_features[0, 0], frame, atol=1e-3)
    assert not np.allclose(found.region_features, expected.region_features, atol=0.1)


def test_without_proposals_the_frame_is_alone():
    extractor = RegionExtractor(RegionsConfig(**SETTINGS, proposer="none"))
    regions = extractor(prepare_image(tf.constant(encoded(7)), 128)[None])
    assert regions.region_features.shape == (1, 1, 1280) and regions.scores.shape == (1, 1)


def test_a_one_pixel_image_has_finite_regions(extractor):
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), (10, 200, 30)).save(buffer, "PNG")
    regions = extractor.extract([buffer.getvalue()])
    assert all(np.isfinite(part).all() for part in regions[:3])
