"""Images of any kind have the same pixels, and what is no image is refused in one line."""

import io

import numpy as np
import pytest
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.images.sources import as_sources


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def test_every_kind_of_image_has_the_same_pixels(pixels, tmp_path):
    path = tmp_path / "a.png"
    image = Image.fromarray(pixels)
    image.save(path)
    kinds = [str(path), path, path.read_bytes(), bytearray(path.read_bytes())]
    kinds += [image, image.convert("RGBA"), Image.open(path), pixels]
    kinds += [pixels / 255, (pixels / 255).astype(np.float32)]
    for kind in kinds:
        [source], is_list = as_sources(kind)
        assert not is_list
        np.testing.assert_array_equal(source.pixels(), pixels)
        np.testing.assert_array_equal(source.image(), pixels)
    sources, is_list = as_sources(kinds)
    assert is_list and len(sources) == len(kinds)
    assert (sources[0].name, sources[2].name) == (str(path), "images[2]")


def test_pil_images_are_turned_upright(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    [from_bytes], _ = as_sources(buffer.getvalue())
    [from_pil], _ = as_sources(Image.open(buffer))
    np.testing.assert_array_equal(from_bytes.pixels(), np.rot90(pixels, -1))
    np.testing.assert_array_equal(from_pil.pixels(), from_bytes.pixels())


def test_a_folder_and_a_batch_are_lists(pixels, tmp_path):
    for name in ("b.png", "a.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    sources, is_list = as_sources(tmp_path)
    assert is_list and [source.path.name for source in sources] == ["a.png", "b.png"]
    sources, is_list = as_sources(np.stack([pixels, pixels]))
    assert is_list and [source.name for source in sources] == ["images[0]", "images[1]"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([], "images is empty"),
        (3, "the image must be a path, bytes, .* not int"),
        ([None], r"images\[0\] must be a path, .* not NoneType"),
        (np.zeros([4, 4], np.uint8), r"an array \[H, W, 3\], not of shape \[4, 4\]"),
        (np.zeros([4, 4, 4], np.uint8), r"not of shape \[4, 4, 4\]"),
        (np.zeros([0, 4, 3], np.uint8), r"not of shape \[0, 4, 3\]"),
        (np.zeros([4, 4, 3], int), r"uint8 in 0\.\.255 or of floats in 0\.\.1, not of int64"),
        (np.zeros([4, 4, 3], bool), "not of bool"),
    ],
)
def test_other_types_and_shapes_are_refused(image, message):
    with pytest.raises(ValueError, match=message) as raised:
        as_sources(image)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full([2, 2, 3], 200.0), r"floats are read as 0\.\.1, .* from 200 to 200; .* uint8"),
        (np.full([2, 2, 3], -0.5), r"from -0\.5 to -0\.5"),
        (np.full([2, 2, 3], np.nan), "NaN or infinity"),
        (np.full([2, 2, 3], np.inf), "NaN or infinity"),
    ],
)
def test_other_values_are_refused(array, message):
    [source], _ = as_sources(array)
    with pytest.raises(UserError, match=message) as raised:
        source.pixels()
    assert "\n" not in str(raised.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no image .*absent\.jpg"):
        as_sources(tmp_path / "absent.jpg")
    [source], _ = as_sources([tmp_path / "absent.jpg"])
    with pytest.raises(UserError, match=r"absent\.jpg: cannot be read \(No such file"):
        source.pixels()
