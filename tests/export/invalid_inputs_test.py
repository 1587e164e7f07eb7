"""Odd and invalid inputs of the signatures: no other row changes."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from signature_contract import CONTRACT, TEXTS, Ask, inputs_of

from visem_tf.export.saved_model.signatures import Signatures
from visem_tf.runs.trained_run import TrainedRun

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_cnn")]


def test_odd_sentences(pictures: list[bytes], served: Ask):
    text = served("embed_text", sentences=TEXTS)
    assert [[token for token in row if token] for row in text["tokens"].tolist()] == [
        [b"a", b"red", b"dog", b"runs"],
        [],
        [b"nothing", b"known", b"here"],
        [b"a", "naïve".encode(), b"ball"],
        [b"dog"],
        [b"five"] * 5,  # text.max_words
    ]
    assert (text["embeddings"][~text["mask"]] == 0).all()
    np.testing.assert_array_equal(text["mask"], text["tokens"] != b"")
    nothing = served("embed_text", sentences=["", "…"])
    assert nothing["embeddings"].shape == (2, 0, 8)
    assert served("align", image_bytes=pictures[:1], sentences=[""])["boxes"].shape == (1, 0, 4)
    scores = served("score", image_bytes=pictures[:2], sentences=["", "?"])["scores"]
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores[:, 0], scores[:, 1])


def test_sentences_beyond_the_training(served: Ask, session: Ask):
    texts = ["", "a dog " * 5000, b"\xff\xfe\x00dog", "zzz qqq", "A\u0301 DOG\n\tred"]
    for ask in (served, session):
        found = ask("embed_text", sentences=texts)
        assert found["mask"].sum(axis=1).tolist() == [0, 5, 1, 2, 3]  # max_words is 5
        assert found["tokens"][1].tolist() == [b"a", b"dog", b"a", b"dog", b"a"]
        alone = ask("embed_text", sentences=texts[4:])["embeddings"]
        np.testing.assert_allclose(found["embeddings"][4:, :3], alone, atol=1e-5)


def png_of_size(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum


def jpeg_of_size(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def bad_pictures(jpeg: bytes, png: bytes) -> dict[str, bytes]:
    others = {}
    for kind in ("BMP", "GIF"):
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9)).save(buffer, kind)
        others[kind] = buffer.getvalue()
    return {
        "empty": b"",
        "text": b"no picture",
        **others,
        "three bytes": jpeg[:3],
        "jpeg without pixels": jpeg[:200],
        "jpeg cut short": jpeg[:-40],
        "jpeg too large": jpeg_of_size(jpeg, 65_000, 65_000),
        "jpeg of noise": b"\xff\xd8\xff" + np.random.default_rng(0).bytes(999),
        "png signature": png[:8],
        "png header": png[:20],
        "png cut short": png[:-40],
        "png without pixels": png_of_size(0, 9),
        "png too large": png_of_size(20_000, 20_000),
        "png far too large": png_of_size(2**31 - 1, 2**31 - 1),
    }


def test_unreadable_images_change_no_other_row(pictures: list[bytes], served: Ask, session: Ask):
    bad = list(bad_pictures(*pictures[:2]).values())
    batch = [pictures[0], *bad, pictures[1]]
    good, rows = [0, len(batch) - 1], slice(1, -1)
    empty = {"captions": b"", "log_probs": -np.inf, "region_scores": -np.inf, "scores": -np.inf}
    empty |= {"embeddings": 0.0, "boxes": 0.0, "regions": -1}
    for signature in CONTRACT:
        if "image_bytes" not in CONTRACT[signature][0]:
            continue
        texts = ["a red dog"] * (len(batch) if signature == "align" else 2)
        found = served(signature, **inputs_of(signature, batch, texts))
        alone = served(signature, **inputs_of(signature, pictures[:2], texts[:2]))
        for name, value in found.items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value[good], alone[name], rtol=1e-3, atol=1e-4)
            else:
                np.testing.assert_array_equal(value[good], alone[name])
            if name != "tokens":
                assert (value[rows] == empty[name]).all(), (signature, name)
    found = session("greedy", image_bytes=batch)
    np.testing.assert_array_equal(found["log_probs"] == -np.inf, [False, *[True] * len(bad), False])


@pytest.mark.parametrize("signature", CONTRACT)
def test_empty_batches(served: Ask, signature: str):
    found = served(signature, **inputs_of(signature, [], []))
    for name, (dtype, shape) in CONTRACT[signature][1].items():
        assert found[name].shape == tuple(size or 0 for size in shape)
        assert tf.as_dtype(dtype).as_numpy_dtype == found[name].dtype


def test_one_side_of_a_score_may_be_empty(pictures: list[bytes], served: Ask):
    assert served("score", image_bytes=pictures, sentences=[])["scores"].shape == (3, 0)
    assert served("score", image_bytes=[], sentences=TEXTS)["scores"].shape == (0, 6)


def test_align_needs_a_sentence_for_each_image(pictures: list[bytes], served: Ask):
    for chosen, sentences in ((pictures[:1], TEXTS[:2]), ([], TEXTS[:1])):
        with pytest.raises(tf.errors.InvalidArgumentError, match="one sentence per image"):
            served("align", image_bytes=chosen, sentences=sentences)


def test_a_call_may_fail_instead(trained: TrainedRun, pictures: list[bytes]):
    signatures = Signatures(trained, unreadable="fail", names=["greedy"]).trace()
    assert set(signatures) == {"greedy"}
    signatures["greedy"](tf.constant(pictures[:1]))
    assert signatures["greedy"](tf.constant([], tf.string))["captions"].shape == [0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG or PNG in rows 1"):
        signatures["greedy"](tf.constant([pictures[0], b"no picture"]))
