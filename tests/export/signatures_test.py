"""Signatures: names and shapes, and the same results as in Python."""

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from signature_contract import CONTRACT, FURTHER, GROUND, PICTURE_QUESTIONS, TEXTS, Ask, inputs_of

from visem_tf.decoding.captioner import Captioner
from visem_tf.errors import UserError
from visem_tf.export.description import Export
from visem_tf.export.parity import extract_one_by_one
from visem_tf.export.saved_model.signatures import Signatures
from visem_tf.regions.extractor import Regions
from visem_tf.runs.phrase_grounding import ground_sentences
from visem_tf.runs.trained_run import TrainedRun

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_cnn")]


@pytest.fixture(scope="module")
def regions(pictures: list[bytes], trained: TrainedRun) -> Regions:
    """The regions of the pictures, one picture at a time as `visem_tf.describe` does it."""
    return extract_one_by_one(trained, pictures)


def test_names_types_and_shapes(exported: Export, served: Any, session: Any):
    def in_python(specs) -> dict:
        return {name: (spec.dtype.name, spec.shape.as_list()) for name, spec in specs.items()}

    def in_session(infos) -> dict:
        return {
            name: (
                tf.as_dtype(info.dtype).name,
                [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim],
            )
            for name, info in infos.items()
        }

    expectations = {**CONTRACT, **FURTHER, "ground": GROUND}
    assert set(served.model.signatures) == set(expectations)
    assert set(session.signatures) == set(expectations)
    for name, expected in expectations.items():
        function = served.model.signatures[name]
        inputs = in_python(function.structured_input_signature[1])
        assert (inputs, in_python(function.structured_outputs)) == expected
        definition = session.signatures[name]
        assert (in_session(definition.inputs), in_session(definition.outputs)) == expected
        described = exported.description["signatures"][name]
        for side, tensors in zip(("inputs", "outputs"), expected, strict=True):
            assert {n: (t["dtype"], t["shape"]) for n, t in described[side].items()} == tensors


@pytest.mark.parametrize("signature", CONTRACT)
def test_the_session_loader_gives_the_same(
    pictures: list[bytes], served: Ask, session: Ask, signature: str
):
    inputs = inputs_of(signature, pictures, TEXTS[:3])
    expected, found = served(signature, **inputs), session(signature, **inputs)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_array_equal(found[name], value)


def test_texts_equal_those_of_python(
    pictures: list[bytes], trained: TrainedRun, served: Ask, regions: Regions
):
    beam = served("beam", image_bytes=pictures)
    found = served("describe_regions_beam", image_bytes=pictures)
    for row, description in enumerate(trained.describe(regions)):
        assert beam["captions"][row, 0].decode() == description.caption
        np.testing.assert_allclose(beam["log_probs"][row, 0], description.log_prob, rtol=1e-4)
        assert [text.decode() for text in found["captions"][row]] == description.region_captions
        np.testing.assert_allclose(found["log_probs"][row], description.region_log_probs, rtol=1e-4)
        np.testing.assert_allclose(found["boxes"][row], description.boxes, atol=1e-6)
        np.testing.assert_allclose(
            found["region_scores"][row], description.region_scores, rtol=1e-3
        )
    assert (np.diff(beam["log_probs"]) <= 0).all()
    assert len({*beam["captions"].ravel()}) > 3


def test_greedy_texts_equal_those_of_python(
    pictures: list[bytes], trained: TrainedRun, served: Ask, regions: Regions
):
    def greedily(generator, features) -> tuple:
        return Captioner(generator, trained.vocabulary, trained.config.generate, 1)(features)

    features = regions.region_features
    texts, log_probs = greedily(trained.full_frame_generator, features[:, 0])
    for signature in ("greedy", "serving_default"):
        found = served(signature, image_bytes=pictures)
        assert [text.decode() for text in found["captions"]] == texts
        np.testing.assert_allclose(found["log_probs"], log_probs, rtol=1e-4)
    texts, log_probs = greedily(trained.region_generator, features.reshape(12, -1))
    found = served("describe_regions", image_bytes=pictures)
    assert [text.decode() for text in found["captions"].ravel()] == texts
    np.testing.assert_allclose(found["log_probs"].ravel(), log_probs, rtol=1e-4)


def test_scores_and_alignments_are_those_of_python(
    pictures: list[bytes], trained: TrainedRun, served: Ask, regions: Regions
):
    words = trained.vocabulary.encode(tf.constant(TEXTS))[:, :5]
    token_ids = words.to_tensor()
    features, mask = tf.constant(regions.region_features), tf.constant(regions.region_mask)
    model = trained.alignment_model
    scores = trained.grounder.scorer.of_blocks([(model.encode_regions(features), mask)], words)
    found = served("score", image_bytes=pictures, sentences=TEXTS)["scores"]
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-5)
    plain = model({"region_features": features, "region_mask": mask, "token_ids": token_ids})
    assert np.abs(found - plain).min() > 1e-3  # less the hubness of both
    assert np.ptp(found[:, 0]) > 1e-3

    embeddings = served("embed_image", image_bytes=pictures)["embeddings"]
    np.testing.assert_allclose(embeddings, model.encode_regions(features), rtol=1e-3, atol=1e-4)
    text = served("embed_text", sentences=TEXTS)
    np.testing.assert_allclose(text["embeddings"], model.encode_sentences(token_ids), atol=1e-5)
    np.testing.assert_array_equal(text["mask"], token_ids != 0)

    pairs = TEXTS[1:4]
    chosen, _, boxes = trained.grounder.ground_words(
        model.encode_regions(features), mask, tf.constant(regions.boxes), token_ids[1:4, :3]
    )
    found = served("align", image_bytes=pictures, sentences=pairs)
    np.testing.assert_array_equal(found["regions"], chosen)
    real = found["regions"] >= 0
    np.testing.assert_allclose(found["boxes"][real], boxes.numpy()[real], atol=1e-6)
    assert (found["boxes"][~real] == 0).all()
    assert real.sum(axis=1).tolist() == [0, 3, 3]


PHRASES = [  # sentence, image, first, last
    ("A red dog runs!", 0, 1, 2),
    ("A red dog runs!", 2, 3, 3),
    ("a naïve ball", 1, 0, 2),
    ("a naïve ball", 1, 0, 0),
    ("a naïve ball", 1, 3, 4),  # beyond its end
    ("", 0, 0, 0),
]


def asked(phrases: list[tuple]) -> dict[str, Any]:
    sentences, image, first, last = (list(part) for part in zip(*phrases, strict=True))
    numbers = {"image": image, "first": first, "last": last}
    return {"sentences": sentences, **{n: np.array(v, np.int32) for n, v in numbers.items()}}


@pytest.mark.parametrize("readout", ["phrase", "mrf"])
def test_phrases_are_grounded_as_in_python(
    pictures: list[bytes], trained: TrainedRun, regions: Regions, readout: str
):
    """Both kinds of read-out, of the run's regions, with a proposer whose scores count."""
    changes = {"infer.readout": readout, "infer.frame_penalty": 0.5, "infer.proposer_weight": 1.5}
    run = TrainedRun(trained.run.path, trained.config.updated(changes))
    ground = Signatures(run, names=["ground"]).trace()["ground"]
    found = ground(
        image_bytes=tf.constant(pictures),
        **{name: tf.constant(value) for name, value in asked(PHRASES).items()},
    )
    boxes, points, scores = (found[name].numpy() for name in ("boxes", "points", "scores"))
    for row, (sentence, image, first, last) in enumerate(PHRASES[:4]):
        query = run.grounder.read(sentence)
        query = dataclasses.replace(query, phrases=[(first, last)])
        [expected] = ground_sentences(run.phrase_grounder, [query], [image], regions)
        [phrase] = expected["phrases"]
        np.testing.assert_allclose(boxes[row], phrase["box"], atol=1e-4)
        np.testing.assert_allclose(points[row], phrase["point"], atol=1e-4)
        assert scores[row] == pytest.approx(phrase["score"], abs=1e-3)
    assert not boxes[4:].any()
    assert not points[4:].any()
    assert np.isneginf(scores[4:]).all()


def test_ground_in_the_session_loader_and_on_odd_input(
    pictures: list[bytes], served: Ask, session: Ask
):
    inputs = asked(PHRASES)
    expected = served("ground", image_bytes=pictures, **inputs)
    found = session("ground", image_bytes=pictures, **inputs)
    assert np.ptp(expected["boxes"][:4], axis=0).any()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
    broken = served("ground", image_bytes=[b"no image", *pictures[1:]], **inputs)
    assert np.isneginf(broken["scores"][0])
    assert not broken["boxes"][0].any()
    for name, value in expected.items():
        np.testing.assert_allclose(broken[name][1:4], value[1:4], rtol=1e-4, atol=1e-4)
    nothing = {name: value[:0] for name, value in inputs.items()}
    for images in (pictures[:1], []):
        empty = served("ground", image_bytes=images, **nothing)
        assert {name: value.shape for name, value in empty.items()} == {
            "boxes": (0, 4),
            "points": (0, 2),
            "scores": (0,),
        }
    with pytest.raises(tf.errors.InvalidArgumentError, match="a position in image_bytes"):
        served("ground", image_bytes=pictures[:2], **inputs)
    with pytest.raises(tf.errors.InvalidArgumentError, match="equally many"):
        served("ground", image_bytes=pictures, **{**inputs, "last": inputs["last"][:3]})


def test_what_has_no_model_is_left_out(trained: TrainedRun, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(TrainedRun, "has", lambda self, name: name == "align")
    signatures = Signatures(trained)
    assert set(CONTRACT) & set(signatures.names) == {
        "embed_image",
        "embed_text",
        "score",
        "align",
    }
    assert signatures.left_out["beam"] == "the run has no model generate/full_frame"


def test_pixels_give_what_encoded_pictures_give(served: Ask):
    picture = np.random.default_rng(0).integers(0, 256, [2, 45, 60, 3], dtype=np.uint8)
    picture = np.asarray([Image.fromarray(p).resize((31, 17)) for p in picture])
    encoded = []
    for each in picture:
        buffer = io.BytesIO()
        Image.fromarray(each).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    for name in PICTURE_QUESTIONS:
        sentences = {"sentences": TEXTS[:2]} if "sentences" in CONTRACT[name][0] else {}
        expected = served(name, image_bytes=encoded, **sentences)
        found = served(f"{name}_from_pixels", image=picture.astype(np.float32), **sentences)
        assert_same(found, expected)


def test_features_give_what_their_pictures_give(
    pictures: list[bytes], served: Ask, regions: Regions
):
    features = np.array(regions.region_features)
    for name in PICTURE_QUESTIONS:
        sentences = {"sentences": TEXTS[:3]} if "sentences" in CONTRACT[name][0] else {}
        expected = served(name, image_bytes=pictures, **sentences)
        found = served(f"{name}_from_features", region_features=features, **sentences)
        assert_same(found, {name: expected[name] for name in found})
        padded = np.pad(features, [[0, 0], [0, 2], [0, 0]])
        more = served(f"{name}_from_features", region_features=padded, **sentences)
        assert_same({n: v[:, :4] if v.shape[1:2] == (6,) else v for n, v in more.items()}, found)
    more = served("describe_regions_from_features", region_features=padded)
    assert (more["captions"][:, 4:] == b"").all() and (more["log_probs"][:, 4:] == -np.inf).all()
    nothing = np.zeros([0, 4, 1280], np.float32)
    assert served("score_from_features", region_features=nothing, sentences=["a"])[
        "scores"
    ].shape == (0, 1)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-3, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_names_are_checked(trained: TrainedRun):
    with pytest.raises(UserError, match="no signature 'gredy'; did you mean greedy"):
        Signatures(trained, names=["gredy"])
