"""Pictures of any size and shape become a square, in memory that a small machine has."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from visem_tf.regions.extractor import prepare_picture


def encoded(width, height, kind="JPEG"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return tf.constant(buffer.getvalue())


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 2000), (224, 224), (640, 480)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_any_shape_is_resized_as_its_numbers_are(size, kind):
    picture = encoded(*size, kind)
    found = prepare_picture(picture, 64)
    pixels = tf.cast(tf.io.decode_image(picture, channels=3), tf.float32)
    if kind == "JPEG":
        pixels = tf.cast(
            tf.io.decode_jpeg(picture, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32
        )
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, tf.image.resize(pixels, [64, 64], antialias=True))


def test_the_largest_picture_takes_little_more_than_its_bytes(tmp_path, run_python):
    """12,000 x 9,000 pixels of three bytes are 309 MiB; as floats they alone would be 1,236."""
    path = tmp_path / "large.jpg"
    run_python(
        f"from PIL import Image; Image.new('RGB', (12000, 9000), 'teal').save({str(path)!r})"
    )
    grown = run_python(
        f"""
import resource, sys
from visem_tf.runtime.startup import start_tensorflow
start_tensorflow()
import tensorflow as tf
from visem_tf.regions.extractor import prepare_picture
prepare = tf.function(prepare_picture)
prepare(tf.io.encode_jpeg(tf.zeros([8, 8, 3], tf.uint8)), 384)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
prepare(tf.io.read_file({str(path)!r}), 384)
print(peak() - before)
"""
    )
    assert float(grown.split()[-1]) < 600
