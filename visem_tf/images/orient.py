"""The orientation of an image by its metadata, in graph.

Cameras do not turn pixels: they write into the file how a viewer has to turn them. Pillow reads
this in `visem_tf.images.read`; an exported model has to find it in the bytes itself. Both use the
EXIF block of a JPEG (segment APP1) or PNG (chunk eXIf) and, if that has no orientation, the field
`tiff:Orientation` of an XMP packet.
"""

from typing import Any

import tensorflow as tf

from visem_tf.images.read import ORIENTATION_TAG

_EXIF = b"Exif\x00\x00"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_PNG_XMP = b"XML:com.adobe.xmp"
_MOST_BLOCKS = 1000  # examined in a file; cameras write a dozen, a hostile file millions
# RE2 takes \C for any byte, also where the text is not UTF-8.
_XMP_ORIENTATION = r'\C*?tiff:Orientation(?:="|>)([0-9])\C*'


def jpeg_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the orientation of a JPEG in graph.

    Args:
        encoded: String scalar with the bytes of the file.

    Returns:
        EXIF orientation, int32 scalar in 1..8; 1 (upright) if it is missing or invalid.
    """
    data = tf.io.decode_raw(encoded, tf.uint8)
    size = tf.size(data)

    def has_marker(position: tf.Tensor, exif: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
        # Marker and length are four bytes; a scan (0xDA) ends what comes before the pixels.
        return (position + 4 <= size) & tf.not_equal(_at(data, position + 1), 0xDA)

    def next_segment(position: tf.Tensor, exif: tf.Tensor, xmp: tf.Tensor) -> tuple:
        marker = _at(data, position + 1)
        no_marker = tf.not_equal(_at(data, position), 0xFF) | tf.equal(marker, 0xFF)
        alone = tf.equal(marker, 0x01) | tf.equal(marker, 0x00) | _between(marker, 0xD0, 0xD9)
        length = _number(data[position + 2 : position + 4], tf.constant(False))
        step = tf.where(no_marker, 1, tf.where(alone, 2, 2 + tf.maximum(length, 2)))
        content = tf.cond(
            ~no_marker & tf.equal(marker, 0xE1),
            lambda: _part(encoded, position + 4, length - 2),
            lambda: tf.constant(b""),
        )
        exif = _first(exif, content, _EXIF)
        xmp = _first(xmp, content, _XMP)
        return position + step, exif, xmp

    return _found_in_blocks(2, has_marker, next_segment)


def png_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the orientation of a PNG in graph; see `jpeg_orientation`."""
    data = tf.io.decode_raw(encoded, tf.uint8)
    size = tf.size(data)

    def has_chunk(position: tf.Tensor, exif: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
        return (position + 12 <= size) & (position >= 8)  # a length beyond 2**31 turns it negative

    def next_chunk(position: tf.Tensor, exif: tf.Tensor, xmp: tf.Tensor) -> tuple:
        length = _number(data[position : position + 4], tf.constant(False))
        kind = _part(encoded, position + 4, tf.constant(4))
        content = tf.cond(
            tf.reduce_any(tf.equal(kind, [b"eXIf", b"iTXt"])),
            lambda: _part(encoded, position + 8, length),
            lambda: tf.constant(b""),
        )
        is_exif = tf.equal(kind, b"eXIf") & tf.equal(exif, b"")
        exif = tf.where(is_exif, _EXIF + content, exif)
        xmp = _first(xmp, content, _PNG_XMP)
        return tf.where(length < 0, size, position + 12 + length), exif, xmp

    return _found_in_blocks(8, has_chunk, next_chunk)


def turn_upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns or mirrors an image in graph as its EXIF orientation says.

    Args:
        pixels: Tensor [P, P, C], or [H, W, C] of unknown height and width.
        orientation: int32 scalar in 1..8.

    Returns:
        Tensor of the same static shape.
    """
    swapped = tf.cond(orientation > 4, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    flips = tf.constant([[False, False], [False, True], [True, True], [True, False]])
    axes = tf.where(flips[(orientation - 1) % 4])[:, 0]
    turned = tf.reverse(swapped, axes)
    return tf.ensure_shape(turned, pixels.shape)


def _found_in_blocks(start: int, goes_on: Any, next_block: Any) -> tf.Tensor:
    """Orientation by the first EXIF block and XMP packet of a file, searched block by block."""
    _, exif, xmp = tf.while_loop(
        goes_on,
        next_block,
        (tf.constant(start), tf.constant(b""), tf.constant(b"")),
        maximum_iterations=_MOST_BLOCKS,
    )
    return _orientation(exif, xmp)


def _orientation(exif: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
    """Orientation in an EXIF block, or in an XMP packet if the block has none."""
    from_exif = tf.cond(
        tf.strings.length(exif) >= len(_EXIF) + 8,
        lambda: _tiff_orientation(tf.io.decode_raw(exif, tf.uint8)[len(_EXIF) :]),
        lambda: tf.constant(-1),
    )
    digit = tf.strings.regex_replace(xmp, _XMP_ORIENTATION, r"\1", replace_global=False)
    from_xmp = tf.cond(
        tf.equal(tf.strings.length(digit), 1),
        lambda: tf.strings.to_number(digit, tf.int32),
        lambda: tf.constant(-1),
    )
    orientation = tf.where(from_exif < 0, from_xmp, from_exif)
    return tf.where(_between(orientation, 1, 8), orientation, 1)


def _tiff_orientation(tiff: tf.Tensor) -> tf.Tensor:
    """Orientation in the first directory of a TIFF block, bytes uint8 [N]; -1 if there is none."""
    head = tf.cast(tiff[:4], tf.int32)
    little = tf.reduce_all(tf.equal(head[:2], list(b"II")))
    big = tf.reduce_all(tf.equal(head[:2], list(b"MM")))
    # Pillow accepts the 42 in either byte order.
    magic = tf.equal(tf.reduce_max(head[2:]), 42) & tf.equal(tf.reduce_min(head[2:]), 0)
    size = tf.size(tiff)
    start = _number(tiff[4:8], little)
    is_tiff = (little | big) & magic & _between(start, 8, size - 2)
    start = tf.where(is_tiff, start, 0)
    count = _number(tiff[start : start + 2], little)
    count = tf.where(is_tiff, tf.minimum(count, (size - start - 2) // 12), 0)
    entries = tf.reshape(tiff[start + 2 : start + 2 + 12 * count], [-1, 12])
    tags = _number(entries[:, :2], little)
    found = tf.boolean_mask(entries, tf.equal(tags, ORIENTATION_TAG))
    # Without an entry XMP decides; an entry of another type or length is invalid.
    entry = tf.concat([found, tf.zeros([1, 12], tf.uint8)], axis=0)[0]
    kind, values = _number(entry[2:4], little), _number(entry[4:8], little)
    short = tf.equal(kind, 3) & _between(values, 1, 2)
    long = tf.equal(kind, 4) & tf.equal(values, 1)
    of_long = tf.where(long, _number(entry[8:12], little), 0)
    value = tf.where(short, _number(entry[8:10], little), of_long)
    return tf.where(tf.size(found) > 0, tf.maximum(value, 0), -1)


def _number(data: tf.Tensor, little: tf.Tensor) -> tf.Tensor:
    """Numbers that bytes uint8 [..., N] encode, int32 [...]; 2**31 and more become negative."""
    data = tf.where(little, tf.reverse(data, [-1]), data)
    width = data.shape[-1] or tf.shape(data)[-1]
    shifts = 8 * tf.range(width - 1, -1, -1)
    return tf.reduce_sum(tf.bitwise.left_shift(tf.cast(data, tf.int32), shifts), axis=-1)


def _at(data: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """A byte as int32; beyond the end, the last one."""
    return tf.cast(data[tf.minimum(position, tf.size(data) - 1)], tf.int32)


def _between(value: tf.Tensor, low: int, high: tf.Tensor | int) -> tf.Tensor:
    return (value >= low) & (value <= high)


def _part(encoded: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Some bytes of a string, fewer if it ends before."""
    start = tf.minimum(start, tf.strings.length(encoded))
    return tf.strings.substr(encoded, start, tf.maximum(length, 0))


def _first(kept: tf.Tensor, content: tf.Tensor, signature: bytes) -> tf.Tensor:
    """Returns what was kept before, or the content if it is the first with the signature."""
    matches = tf.equal(tf.strings.substr(content, 0, len(signature)), signature)
    return tf.where(matches & tf.equal(kept, b""), content, kept)
