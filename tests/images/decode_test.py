"""Unusual kinds of images, written by Pillow and decoded again in graph."""

import io
import pickle
import resource
import struct
import subprocess
import sys
import types
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from visem_tf.errors import UserError
from visem_tf.images.decode import decode_any_image, decode_image, read_image
from visem_tf.images.read import MAX_PIXELS, ImageError, read_pixels


def smooth_image(width=37, height=23):
    """A smooth image without symmetries, so that every turn and channel order shows."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 255 * x / width, 255 * y / height, 120 + 60 * np.sin(x / 5 + y / 9)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def encode(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def decode(data):
    return decode_image(tf.constant(data)).numpy()


def assert_close(actual, expected, levels):
    expected = np.asarray(expected)
    assert actual.dtype == np.uint8
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).max() <= levels


@pytest.mark.parametrize(
    ("image_format", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 60}),
        ("JPEG", "RGB", {"quality": 100}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"subsampling": 0}),
        ("JPEG", "RGB", {"keep_rgb": True}),
        ("JPEG", "L", {}),
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("MPO", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (8, 8), "red")]}),
    ],
)
def test_plain_images_pass_unchanged_and_decode_as_in_pillow(image_format, mode, options):
    data = encode(smooth_image().convert(mode), image_format, **options)
    assert read_image(data, "plain") == data
    assert_close(decode(data), Image.open(io.BytesIO(data)).convert("RGB"), levels=2)


def test_noise_at_full_quality_decodes_as_in_pillow():
    """The default inverse transform is off by tens of levels here."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), "JPEG", quality=100)
    assert_close(decode(read_image(data)), Image.open(io.BytesIO(data)).convert("RGB"), levels=2)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P"])
def test_python_reads_the_pixels_that_are_decoded_in_graph(image_format, mode):
    exif = Image.Exif()
    exif[0x0112] = 8
    for turned in ({}, {"exif": exif}):
        try:
            data = encode(smooth_image().convert(mode), image_format, **turned)
        except (OSError, ValueError):  # the format has no such pixels
            continue
        assert_close(read_pixels(data, "any"), decode(read_image(data)), levels=0)


@pytest.mark.parametrize(
    ("image_format", "mode", "options"),
    [
        ("JPEG", "CMYK", {}),
        ("PNG", "P", {}),
        ("PNG", "1", {}),
        ("GIF", "RGB", {}),
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "CMYK", {}),
        ("TIFF", "L", {"compression": "tiff_lzw"}),
        ("WEBP", "RGB", {"lossless": True}),
        ("PPM", "RGB", {}),
    ],
)
def test_other_formats_and_modes_become_rgb_png(image_format, mode, options):
    data = encode(smooth_image().convert(mode), image_format, **options)
    converted = read_image(data, "odd")
    with Image.open(io.BytesIO(converted)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
    assert_close(decode(converted), Image.open(io.BytesIO(data)).convert("RGB"), levels=0)
    if mode not in ("P", "1", "L", "CMYK") and image_format != "GIF":
        assert_close(decode(converted), smooth_image(), levels=0)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_brightness(image_format):
    grey = np.linspace(0, 65535, 20 * 30).astype(np.uint16).reshape(20, 30)
    actual = decode(read_image(encode(Image.fromarray(grey), image_format)))
    assert_close(actual, np.repeat(np.round(grey / 257)[..., None], 3, -1), levels=1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_grey_with_fewer_bits_in_16_is_as_bright(image_format, bits):
    grey = np.linspace(0, 2**bits - 1, 20 * 30).astype(np.uint16).reshape(20, 30)
    actual = decode(read_image(encode(Image.fromarray(grey), image_format)))
    expected = np.round(grey / (2**bits - 1) * 255)
    assert_close(actual, np.repeat(expected[..., None], 3, -1), levels=1)


def test_heic_names_the_package_that_reads_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    data = b"\0\0\0\x18ftypheic" + bytes(40)
    with pytest.raises(ImageError, match=r'a\.heic: HEIC needs .*pip install "visem_tf\[heic\]"'):
        read_image(data, "a.heic")


def test_heic_is_read_where_the_package_is_installed(monkeypatch):
    plain = encode(smooth_image(), "PNG")

    def open_heic(file, name):
        image = Image.open(io.BytesIO(plain))
        image.format = "HEIF"
        return image

    def register():
        Image.register_open("HEIF", open_heic)

    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    module = types.SimpleNamespace(register_heif_opener=register)
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    found = decode(read_image(b"\0\0\0\x18ftypheic" + bytes(40)))
    assert_close(found, smooth_image(), levels=0)


def test_16_bit_colour_png_keeps_its_brightness():
    pixels = np.random.default_rng(1).integers(0, 65536, (5, 7, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = png_file(7, 5, rows, bit_depth=16, colour_type=2)
    converted = read_image(data)
    assert_close(decode(converted), np.round(pixels / 257), levels=1)
    assert converted[24] == 8  # bits a channel


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_every_orientation_comes_out_upright(image_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(smooth_image(), image_format, exif=exif)
    converted = read_image(data, "turned")
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert expected.size == ((37, 23) if orientation < 5 else (23, 37))
    assert_close(decode(converted), expected, levels=2)
    assert Image.open(io.BytesIO(converted)).getexif().get(0x0112, 1) == 1
    if orientation == 1 and image_format in ("JPEG", "PNG"):
        assert converted == data


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0junk"])
def test_a_broken_exif_block_is_ignored(exif):
    data = encode(smooth_image(), "JPEG", exif=exif)
    assert_close(decode(read_image(data)), smooth_image(), levels=60)


def test_a_broken_exif_text_is_ignored():
    """Pillow raises for this one."""
    information = PngInfo()
    information.add_text("Raw profile type exif", "\nexif\n 4\nzzzz")
    data = encode(smooth_image(), "PNG", pnginfo=information)
    with pytest.raises(ValueError, match="hex"):
        Image.open(io.BytesIO(data)).getexif()
    assert_close(decode(read_image(data)), smooth_image(), levels=0)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_unknown_orientation_means_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(smooth_image(), "JPEG", exif=exif)
    assert read_image(data) == data


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(image_format):
    frames = [Image.new("RGB", (9, 6), colour) for colour in ("red", "lime", "blue")]
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    converted = read_image(data)
    assert_close(decode(converted), frames[0], levels=4)
    assert not getattr(Image.open(io.BytesIO(converted)), "is_animated", False)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparency_shows_white(mode):
    if mode in ("RGBA", "LA"):
        image = Image.new("RGBA", (4, 2), (0, 0, 0, 0)).convert(mode)
        image.putpixel((0, 0), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
        data = encode(image, "PNG")
    else:
        image = Image.new("RGB", (4, 2), (204, 51, 51))
        image.putpixel((0, 0), (0, 0, 0))
        image = image.convert(mode)
        hidden = image.getpixel((3, 1))
        data = encode(image, "PNG", transparency=hidden)
    expected = np.full((2, 4, 3), 255)
    expected[0, 0] = 0
    assert_close(decode(read_image(data)), expected, levels=0)


def test_half_transparent_black_is_grey_on_white():
    data = encode(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "WEBP", lossless=True)
    assert_close(decode(read_image(data)), np.full((2, 2, 3), 127), levels=1)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_one_pixel(image_format):
    image = Image.new("RGB", (1, 1), (200, 100, 50))
    data = encode(image, image_format, **({"lossless": True} if image_format == "WEBP" else {}))
    assert_close(decode(read_image(data)), image, levels=2)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_truncated_images_are_refused_without_a_word_of_tensorflow(image_format, share, capfd):
    noise = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    data = encode(Image.fromarray(noise), image_format)
    with pytest.raises(ImageError, match=r"^cut\.jpg: "):
        read_image(data[: int(len(data) * share)], "cut.jpg")
    with pytest.raises(ImageError, match=r"^cut\.jpg: "):
        read_pixels(data[: int(len(data) * share)], "cut.jpg")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_whatever_is_accepted_can_be_decoded(image_format):
    """Pillow is lenient at the end of a PNG where TensorFlow is not."""
    data = encode(smooth_image(), image_format)
    for length in range(len(data) - 40, len(data) + 1):
        try:
            accepted = read_image(data[:length])
        except ImageError:
            continue
        assert decode(accepted).shape == (23, 37, 3)
    assert length == len(data)
    assert accepted == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"this is a text file named .jpg\n", "not an image in a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a known format"),
        (b"\xff\xd8\xff\xe0", "image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, data, reason):
    path = tmp_path / "fake.jpg"
    path.write_bytes(data)
    for read in (read_image, lambda path: read_pixels(path, path.name)):
        with pytest.raises(ImageError, match=rf"^fake\.jpg: .*{reason}"):
            read(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read \(No such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.int32), np.zeros((4, 4), np.float32)])
def test_pixels_without_a_defined_white_are_refused(pixels):
    with pytest.raises(ImageError, match="32-bit"):
        read_image(encode(Image.fromarray(pixels), "TIFF"))


@pytest.mark.parametrize("size", [(60_000, 60_000), (12_001, 9_000), (1, MAX_PIXELS + 1)])
def test_a_header_that_claims_too_many_pixels_is_refused(size):
    data = png_file(*size, rows=bytes(100), bit_depth=8, colour_type=2)
    before = peak_memory()
    with pytest.raises(ImageError, match="more than 108,000,000 pixels"):
        read_image(data, "bomb.png")
    assert peak_memory() - before < 50


@pytest.mark.slow
def test_the_largest_image_stays_unchanged_in_bounded_memory(tmp_path):
    path = tmp_path / "large.jpg"
    # In a process of its own, whose memory does not count here.
    code = f"from PIL import Image; Image.new('L', (12000, 9000), 90).save({str(path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    read_image(encode(smooth_image(), "JPEG"))
    before = peak_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path) == path.read_bytes()
    assert peak_memory() - before < 100


def test_the_error_names_the_image_and_is_the_users():
    with pytest.raises(ImageError) as caught:
        read_image(b"", "some name")
    assert isinstance(caught.value, UserError)
    assert caught.value.reason == "the file is empty"
    assert str(caught.value) == "some name: the file is empty"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_decoding_works_in_a_dataset_and_keeps_the_static_channels():
    files = [read_image(encode(smooth_image(w, 5), "PNG")) for w in (3, 4)]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(decode_image)
    assert dataset.element_spec.shape.as_list() == [None, None, 3]
    assert [image.shape for image in dataset.as_numpy_iterator()] == [(5, 3, 3), (5, 4, 3)]


def peak_memory():
    """The highest memory use of this process so far, in MiB."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def png_file(width, height, rows, *, bit_depth, colour_type):
    """A PNG from its raw rows, for what Pillow does not write."""

    def block(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + block(b"IHDR", header)
        + block(b"IDAT", zlib.compress(rows))
        + block(b"IEND", b"")
    )


def test_large_files_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.write(b"\xff\xd8")
        file.truncate(900 << 20)
    with pytest.raises(ImageError, match="the file is larger than 432,000,000 bytes"):
        read_image(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16"])
def test_a_png_that_the_export_refuses_is_refused_here(mode):
    image = smooth_image().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) << 8)
    data = bytearray(encode(image, "PNG"))
    assert read_image(bytes(data))
    end = data.index(b"IEND") - 4  # the checksum of the pixels is before the last block
    data[end - 1] ^= 0xFF
    with pytest.raises(ImageError, match="damaged image"):
        read_image(bytes(data), "mine.png")
    with pytest.raises(ImageError, match="damaged image"):
        read_pixels(bytes(data), "mine.png")
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_any_image(tf.constant(bytes(data)))
