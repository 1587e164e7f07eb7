"""Pictures decoded in graph are those that Python gives: the same turns, alpha and bit depths."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from visem_tf.images.decode import read_picture
from visem_tf.images.decode_in_graph import all_readable, decode_pictures
from visem_tf.regions.extractor import prepare_picture

SIZE = 32


def smooth(width: int = 40, height: int = 24) -> Image.Image:
    """Without symmetries, so that every turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 255 * x / width, 255 * y / height, 120 + 60 * np.sin(x / 5 + y / 9)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
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


def turned_pictures() -> dict[str, bytes]:
    pictures = {}
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010F] = "a camera"
        pictures[f"jpeg {orientation}"] = encode(smooth(), "JPEG", quality=95, exif=exif)
        pictures[f"png {orientation}"] = encode(smooth(), "PNG", exif=exif)
        little = EXIF + tiff(entry(orientation, order="<"), order="<")
        pictures[f"little {orientation}"] = with_segment(PLAIN, little)
    six = EXIF + tiff(entry(6))
    attribute = b'<x tiff:Orientation="6"/>'
    element = b"\xff\xfe<tiff:Orientation>8</tiff:Orientation>"
    png = PLAIN_PNG
    return pictures | {
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


def other_pictures() -> dict[str, bytes]:
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
        "16 bits": encode(Image.fromarray(deep), "PNG"),
        "1 bit": encode(smooth().convert("1"), "PNG"),
        "animation": encode(
            smooth(), "PNG", save_all=True, append_images=[Image.new("RGB", (40, 24))]
        ),
        "one pixel": encode(Image.new("RGB", (1, 1), "red"), "PNG"),
    }


def assert_as_in_python(pictures: dict[str, bytes], levels: float) -> None:
    decode = tf.function(lambda image_bytes: decode_pictures(image_bytes, SIZE))
    pixels, readable = decode(tf.constant(list(pictures.values())))
    assert [name for name, each in zip(pictures, readable.numpy(), strict=True) if not each] == []
    for name, found, data in zip(pictures, pixels.numpy(), pictures.values(), strict=True):
        expected = prepare_picture(tf.constant(read_picture(data)), SIZE)
        np.testing.assert_allclose(found, expected, atol=levels, err_msg=name)


def test_every_turn_is_that_of_python():
    pictures = turned_pictures()
    assert_as_in_python(pictures, 0.01)
    turned = [name for name, data in pictures.items() if read_picture(data) != data]
    assert len(turned) >= 3 * 7 + 10  # so that the comparison is one


def test_alpha_and_odd_formats_are_those_of_python():
    assert_as_in_python(other_pictures(), 1.01)  # a level of rounding in CMYK


def test_hostile_metadata_take_no_time():
    junk = PLAIN[:20] + b"\x00" * 5_000_000 + PLAIN[20:]
    chunks = PLAIN_PNG
    for _ in range(3):
        chunks = with_chunk(chunks, b"teSt", b"")
    endless = chunks[:33] + struct.pack(">I", 2**32 - 13) + b"teSt" + chunks[33:]
    pixels, readable = decode_pictures(tf.constant([junk, endless, PLAIN]), SIZE)
    assert pixels.shape == (3, SIZE, SIZE, 3)
    assert readable.numpy()[2]


def test_a_call_can_be_failed():
    decode = tf.function(lambda rows: all_readable(decode_pictures(rows, SIZE)[1]))
    decode(tf.constant([PLAIN, PLAIN_PNG]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"JPEG or PNG in rows 0, 2"):
        decode(tf.constant([b"", PLAIN, PLAIN[:-30]]))
