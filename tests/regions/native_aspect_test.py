"""Images that keep their aspect ratio, and regions whose features are extracted at theirs."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.images.prepare import NO_IMAGE, image_extents, prepare_image
from visem_tf.regions.dataset_cache import cache_key
from visem_tf.regions.extractor import FRAME, RegionExtractor
from visem_tf.regions.native_aspect import extract_at_native_aspect, nearest_shape, shapes
from visem_tf.regions.resample import crop_and_resize

pytestmark = pytest.mark.usefixtures("quick")

SETTINGS = {"picture_size": 128, "frame_size": 64, "crop_size": 48, "num_regions": 4}


def encoded(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(pixels[::8, ::8]).resize((width, height)))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def extractor():
    return RegionExtractor(RegionsConfig(**SETTINGS, resolution="own"))


@pytest.mark.parametrize(
    ("width", "height", "down", "across"),
    [(100, 50, 50, 100), (300, 150, 64, 128), (9, 600, 128, 2)],
)
def test_an_image_keeps_its_shape_and_is_never_enlarged(width, height, down, across):
    pixels = prepare_image(tf.constant(encoded(width, height)), 128, "own").numpy()
    assert pixels.shape == (128, 128, 3)
    assert (pixels[:down, :across] >= 0).all()
    assert (pixels[down:] == NO_IMAGE).all() and (pixels[:, across:] == NO_IMAGE).all()
    [extents] = image_extents(pixels[None]).numpy()
    np.testing.assert_allclose(extents, [down / 128, across / 128])


def test_what_is_beyond_the_image_is_ignored():
    random = np.random.default_rng(1)
    pixels = random.uniform(0, 255, (2, 40, 56, 3)).astype(np.float32)
    boxes = random.uniform(0, 0.5, (2, 6, 4)).astype(np.float32)
    boxes[..., 2:] += boxes[..., :2]
    boxes[:, 0] = FRAME
    laid = np.pad(pixels, [(0, 0), (0, 24), (0, 8), (0, 0)], constant_values=1e6)
    extents = tf.constant([[40 / 64, 56 / 64]] * 2)
    found = crop_and_resize(laid, boxes, (32, 24), extents=extents)
    np.testing.assert_allclose(found, crop_and_resize(pixels, boxes, (32, 24)), rtol=1e-4)
    whole = tf.image.resize(pixels, [32, 24], antialias=True)
    np.testing.assert_allclose(found[:, 0], whole, rtol=1e-3, atol=1e-2)


def test_a_region_is_described_in_the_nearest_shape(extractor):
    sizes = shapes(48)
    extents = tf.constant([[1.0, 1.0], [0.5, 1.0]])
    boxes = tf.constant([[FRAME, (0, 0, 0.9, 0.4)], [FRAME, (0, 0, 0.8, 0.4)]])
    assert nearest_shape(boxes, extents, sizes).numpy().tolist() == [[2, 0], [3, 2]]
    # Boxes whose pixels have exactly the shapes: cut out, not resized.
    pixels = tf.cast(tf.random.stateless_uniform([2, 128, 128, 3], [1, 2], 0, 255), tf.float32)
    boxes = [[(4, 8, 4 + height, 8 + width) for height, width in sizes]] * 2
    found = extract_at_native_aspect(
        extractor.backbone.features,
        pixels,
        tf.constant(boxes, tf.float32) / 128,
        tf.ones([2, 2]),
        48,
    )
    for image in range(2):
        for number, (top, left, bottom, right) in enumerate(boxes[0]):
            crop = pixels[image, top:bottom, left:right]
            expected = extractor.backbone.features(crop[None])[0]
            np.testing.assert_allclose(found[image, number], expected, atol=1e-2)


@pytest.mark.slow
def test_the_proposer_sees_the_square():
    images = [encoded(120, 60), encoded(60, 60, 1)]
    settings = RegionsConfig(**SETTINGS)
    seen = []

    def found(resolution, images):
        pixels = [prepare_image(tf.constant(each), 128, resolution) for each in images]
        extractor = RegionExtractor(settings.updated({"resolution": resolution}))
        propose = extractor.proposer
        extractor.proposer = lambda pixels: seen.append(pixels) or propose(pixels)
        return extractor(tf.stack(pixels))

    own, warped = found("own", images), found("square", images)
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-2)
    np.testing.assert_allclose(own.boxes, warped.boxes, atol=1e-5)
    assert own.region_features.shape == (2, 4, 1280)
    assert np.abs(own.region_features[0] - warped.region_features[0]).max() > 0.1
    # The square image's frame has the square's shape, whichever way it came.
    np.testing.assert_allclose(
        own.region_features[1, 0], warped.region_features[1, 0], rtol=0.2, atol=0.2
    )


@pytest.mark.slow
def test_scales_are_averaged():
    pixels = tf.random.stateless_uniform([1, 128, 128, 3], [1, 2], 0, 255)
    boxes = tf.constant([[FRAME, (0.1, 0.1, 0.9, 0.6)]])

    def described(**options):
        settings = RegionsConfig(**{**SETTINGS, "proposer": "none", **options})
        return RegionExtractor(settings).extract_boxes(pixels, boxes).numpy()

    one, other = described(), described(crop_size=72, frame_size=96)
    np.testing.assert_allclose(described(scales=2), (one + other) / 2, atol=1e-4)
    assert np.abs(one - other).max() > 0.1


def test_pooled_features_have_neither():
    for option, message in (
        ({"resolution": "own"}, "regions.resolution own applies to crops"),
        ({"scales": 2}, "regions.scales 2 applies to crops"),
    ):
        with pytest.raises(UserError, match=message):
            RegionsConfig(features="pooled", **option)


def test_caches_without_them_keep_their_names():
    key = cache_key(RegionsConfig(), "d", "f", "train")["regions"]
    assert not {"resolution", "scales"} & set(key)
    own = cache_key(RegionsConfig(resolution="own", scales=2), "d", "f", "train")["regions"]
    assert own["resolution"] == "own" and own["scales"] == 2
