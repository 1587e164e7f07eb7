"""Images become squares of one size; in graph they become what Python makes of them."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from visem_tf.images.decode import read_image
from visem_tf.images.prepare import check_readable, prepare_image, prepare_images

SIZE = 32


def smooth(width: int = 40, height: int = 24) -> Image.Image:
    """Without symmetries, so that every turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 255 * x / width, 255 * y / height, 120 + 60 * np.sin(x / 5 + y / 9)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_segment(jpeg: bytes, content: bytes, *, filling: bytes = b"") -> bytes:
    """Puts an APP1 segment behind the first one, perhaps after filling bytes."""
    segment = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    return jpeg[:20] + filling + segment + jpeg[20:]


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Puts a chunk behind the header of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return png[:33] + struct.pack(">I", len(content)) + kind + content + checksum + png[33:]


def tiff(entries: bytes, *, order: str = ">", count: int | None = None) -> bytes:
    number = len(entries) // 12 if count is None else count
    head = b"MM\x00\x2a" if order == ">" else b"II\x2a\x00"
    return head + struct.pack(f"{order}IH", 8, number) + entries + b"\0\0\0\0"


def entry(value: int, *, order: str = ">", kind: int = 3, count: int = 1) -> bytes:
    spelled = {1: "Bxxx", 3: "Hxx", 4: "I"}[kind]
    return struct.pack(f"{order}HHI{spelled}", 0x0112, kind, count, value)


EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
PLAIN = encode(smooth(), "JPEG", quality=95)
PLAIN_PNG = encode(smooth(), "PNG")


def turned_images() -> dict[str, bytes]:
    images = {}
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010F] = "a camera"
        images[f"jpeg {orientation}"] = encode(smooth(), "JPEG", quality=95, exif=exif)
        images[f"png {orientation}"] = encode(smooth(), "PNG", exif=exif)
        little = EXIF + tiff(entry(orientation, order="<"), order="<")
        images[f"little {orientation}"] = with_segment(PLAIN, little)
    six = EXIF + tiff(entry(6))
    attribute = b'<x tiff:Orientation="6"/>'
    element = b"\xff\xfe<tiff:Orientation>8</tiff:Orientation>"
    png = PLAIN_PNG
    return images | {
        "filling": with_segment(PLAIN, six, filling=b"\xff\xff\xff"),
        "junk before": with_segment(PLAIN, six, filling=b"\x00\x07"),
        "byte": with_segment(PLAIN, EXIF + tiff(entry(6, kind=1))),
        "long": with_segment(PLAIN, EXIF + tiff(entry(6, kind=4))),
        "two values": with_segment(PLAIN, EXIF + tiff(entry(6, count=2))),
        "huge value": with_segment(PLAIN, EXIF + tiff(entry(2**32 - 2, kind=4))),
        "two entries": with_segment(PLAIN, EXIF + tiff(entry(3) + entry(6))),
        "more entries than there are": with_segment(PLAIN, EXIF + tiff(entry(6), count=9)),
        "cut in the entry": with_segment(PLAIN, six[:-12]),
        "no tiff": with_segment(PLAIN, EXIF + b"junk and more junk"),
        "directory outside": with_segment(PLAIN, EXIF + b"MM\0*\xff\xff\xff\xff\0\1" + entry(6)),
        "empty": with_segment(PLAIN, EXIF),
        "xmp attribute": with_segment(PLAIN, XMP + attribute),
        "xmp element": with_segment(PLAIN, XMP + element),
        "xmp says nothing": with_segment(PLAIN, XMP + b"<x/>"),
        "exif before xmp": with_segment(
            with_segment(PLAIN, XMP + attribute), EXIF + tiff(entry(3))
        ),
        "exif without it": with_segment(with_segment(PLAIN, XMP + attribute), EXIF + tiff(b"")),
        "png xmp": with_chunk(png, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + attribute),
        "png of many chunks": with_chunk(
            with_chunk(png, b"eXIf", tiff(entry(6))), b"tEXt", b"Comment\0" + b"eXIf" * 9
        ),
    }


def other_images() -> dict[str, bytes]:
    rgba = np.dstack([np.asarray(smooth()), np.arange(960, dtype=np.uint16).reshape(24, 40) % 256])
    translucent = Image.fromarray(rgba.astype(np.uint8), "RGBA")
    palette = smooth().quantize(17)
    deep = np.arange(960, dtype=np.uint16).reshape(24, 40) * 68
    text = PngInfo()
    text.add_text("Comment", "tiff:Orientation=")
    return {
        "grey": encode(smooth().convert("L"), "JPEG"),
        "cmyk": encode(smooth().convert("CMYK"), "JPEG", quality=95),
        "progressive": encode(smooth(), "JPEG", progressive=True),
        "png": encode(smooth(), "PNG", pnginfo=text),
        "rgba": encode(translucent, "PNG"),
        "grey and alpha": encode(translucent.convert("LA"), "PNG"),
        "palette": encode(palette, "PNG"),
        "palette with a transparent colour": encode(palette, "PNG", transparency=3),
        "grey with a transparent level": encode(smooth().convert("L"), "PNG", transparency=120),
        **{
            f"{bits} of 16 bits": encode(Image.fromarray(deep >> (16 - bits)), "PNG")
            for bits in (7, 8, 10, 11, 12, 14, 16)
        },
        "1 bit": encode(smooth().convert("1"), "PNG"),
        "animation": encode(
            smooth(), "PNG", save_all=True, append_images=[Image.new("RGB", (40, 24))]
        ),
        "one pixel": encode(Image.new("RGB", (1, 1), "red"), "PNG"),
    }


def assert_as_in_python(images: dict[str, bytes], levels: float) -> None:
    decode = tf.function(lambda image_bytes: prepare_images(image_bytes, SIZE))
    pixels, readable = decode(tf.constant(list(images.values())))
    assert [name for name, each in zip(images, readable.numpy(), strict=True) if not each] == []
    for name, found, data in zip(images, pixels.numpy(), images.values(), strict=True):
        expected = prepare_image(tf.constant(read_image(data)), SIZE)
        np.testing.assert_allclose(found, expected, atol=levels, err_msg=name)


def test_every_turn_is_that_of_python():
    images = turned_images()
    assert_as_in_python(images, 0.01)
    turned = [name for name, data in images.items() if read_image(data) != data]
    assert len(turned) >= 3 * 7 + 10  # so that the comparison is one


def test_alpha_and_odd_formats_are_those_of_python():
    assert_as_in_python(other_images(), 1.01)  # a level of rounding in CMYK


@pytest.mark.slow
def test_hostile_metadata_take_no_time():
    junk = PLAIN[:20] + b"\x00" * 5_000_000 + PLAIN[20:]
    chunks = PLAIN_PNG
    for _ in range(3):
        chunks = with_chunk(chunks, b"teSt", b"")
    endless = chunks[:33] + struct.pack(">I", 2**32 - 13) + b"teSt" + chunks[33:]
    pixels, readable = prepare_images(tf.constant([junk, endless, PLAIN]), SIZE)
    assert pixels.shape == (3, SIZE, SIZE, 3)
    assert readable.numpy()[2]


def test_a_call_can_be_failed():
    decode = tf.function(
        lambda rows: check_readable(prepare_images(rows, SIZE)[1]),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    decode(tf.constant([PLAIN, PLAIN_PNG]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"JPEG or PNG in rows 0, 2"):
        decode(tf.constant([b"", PLAIN, PLAIN[:-30]]))


def noise(width, height, kind="JPEG"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return tf.constant(buffer.getvalue())


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 2000), (224, 224), (640, 480)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_any_shape_is_resized_as_its_numbers_are(size, kind):
    image = noise(*size, kind)
    found = prepare_image(image, 64)
    pixels = tf.cast(tf.io.decode_image(image, channels=3), tf.float32)
    if kind == "JPEG":
        pixels = tf.cast(
            tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32
        )
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, tf.image.resize(pixels, [64, 64], antialias=True))


@pytest.mark.slow
def test_the_largest_image_takes_little_more_than_its_bytes(tmp_path, run_python):
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
from visem_tf.images.prepare import prepare_image
prepare = tf.function(prepare_image)
prepare(tf.io.encode_jpeg(tf.zeros([8, 8, 3], tf.uint8)), 384)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
prepare(tf.io.read_file({str(path)!r}), 384)
print(peak() - before)
"""
    )
    assert float(grown.split()[-1]) < 600
