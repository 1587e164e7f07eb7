"""TFLite files: builtin operators alone, the numbers of Python, and what is packed in them."""

import errno
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_cnn import build_real_network
from tensorflow.lite.python.schema_py_generated import WhileOptionsT
from tensorflow.lite.tools import flatbuffer_utils

from visem_tf.errors import UserError
from visem_tf.export.__main__ import main
from visem_tf.export.description import Export
from visem_tf.export.tflite.functions import (
    ONE_IMAGE,
    TfliteFunctions,
    of_one_image,
    whole_number_weights,
)
from visem_tf.export.tflite.graphs import join_models, operators
from visem_tf.export.tflite.model import TfliteModel
from visem_tf.export.tflite.recurrence import embed_padded
from visem_tf.export.tflite.writer import convert, export_tflite
from visem_tf.images.prepare import prepare_image
from visem_tf.regions import backbone
from visem_tf.regions.resample import triangle_weights
from visem_tf.runs.trained_run import TrainedRun

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.usefixtures("small_cnn")
EXAMPLE = Path(__file__).parents[2] / "examples" / "describe_with_litert.py"


@pytest.fixture(scope="module")
def model(written: Export) -> TfliteModel:
    return TfliteModel(written.path / "captions-float32.tflite")


def decoded(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


@pytest.mark.slow
def test_every_variant_is_written(written: Export):
    files = written.description["files"]
    assert list(files) == [
        f"captions-{variant}.tflite" for variant in ("float32", "float16", "dynamic_range", "int8")
    ]
    sizes = [about["bytes"] for about in files.values()]
    assert sizes[1] < 0.6 * sizes[0] and sizes[3] < 0.6 * sizes[0]
    for name, about in files.items():
        assert (written.path / name).stat().st_size == about["bytes"]
        assert not any('"' in operator for operator in about["operators"])  # a custom one
        assert {"CONV_2D", "WHILE"} <= set(about["operators"])
    assert "QUANTIZE" in files["captions-int8.tflite"]["operators"]
    text = (written.path / "export.json").read_text(encoding="utf-8")
    assert json.loads(text) == written.description
    assert sorted(path.suffix for path in written.path.iterdir()) == [
        ".json",
        *[".tflite"] * 4,
        ".txt",
    ]


@pytest.mark.slow
def test_float32_writes_the_texts_of_python(written: Export):
    parity = written.description["files"]["captions-float32.tflite"]["parity"]
    assert set(parity) == {"greedy", "beam", "describe_regions", "describe_regions_beam"}
    assert all(count["identical"] == count["texts"] > 0 for count in parity.values())
    assert "captions-float32.tflite" in written.table() and "greedy 3/3" in written.table()


@pytest.mark.slow
def test_one_by_one_and_together(model: TfliteModel, pictures: list[bytes]):
    squares = model.squares([decoded(picture) for picture in pictures])
    for encode, ask in (
        (model.frames, model.captions),
        (lambda rows: model("encode_image", image=rows), model.region_captions),
    ):
        for beam in (False, True):
            rows = [squares[row : row + 1] for row in range(len(squares))]
            alone = [ask(encode(row), beam=beam)[0] for row in rows]
            assert ask(encode(squares), beam=beam) == alone


@pytest.mark.slow
def test_signatures_of_one_image_have_only_known_sizes(
    written: Export, model: TfliteModel, pictures: list[bytes]
):
    for variant, expected in (
        ("float32", set(map(of_one_image, ONE_IMAGE))),
        ("int8", {"greedy_1"}),
    ):
        path = written.path / f"captions-{variant}.tflite"
        shapes = shapes_of_signatures(path.read_bytes())
        assert {name for name in shapes if name.endswith("_1")} == expected
        for signature, found in shapes.items():
            assert all(min(shape, default=0) >= 0 for shape in found) == signature.endswith("_1")
    for picture in pictures:
        square = model.squares([decoded(picture)])
        regions = model("encode_image", image=square)
        frame = model("encode_frame", image=square)
        expected = [frame, regions, model("greedy", **frame)]
        frame, found = (
            model(f"{name}_1", image=square) for name in ("encode_frame", "encode_image")
        )
        for one, other in zip(expected, [frame, found, model("greedy_1", **frame)], strict=True):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_allclose(other[name], one[name], atol=1e-4)


def shapes_of_signatures(model: bytes) -> dict[str, list[list[int]]]:
    """The shapes of all tensors of each signature and its loops; -1 where a size is unknown."""
    parsed = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    shapes = {}
    for signature in parsed.signatureDefs:
        graphs = [signature.subgraphIndex]
        for graph in graphs:
            for operator in parsed.subgraphs[graph].operators:
                options = operator.builtinOptions
                if isinstance(options, WhileOptionsT):
                    graphs += [options.condSubgraphIndex, options.bodySubgraphIndex]
        tensors = [tensor for graph in graphs for tensor in parsed.subgraphs[graph].tensors]
        shapes[signature.signatureKey.decode()] = [
            list(tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature)
            for tensor in tensors
            if tensor.shape is not None
        ]
    return shapes


@pytest.mark.slow
def test_every_signature_runs_at_its_default_shapes(written: Export):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(written.path / "captions-float32.tflite"))
    for name in written.description["signatures"]:
        runner = interpreter.get_signature_runner(name)
        inputs = {
            key: np.zeros(each["shape"], each["dtype"])
            for key, each in runner.get_input_details().items()
        }
        assert runner(**inputs), name


@pytest.mark.slow
def test_int8_features_are_close_to_float32(
    written: Export, model: TfliteModel, pictures: list[bytes]
):
    squares = model.squares([decoded(picture) for picture in pictures])
    small = TfliteModel(written.path / "captions-int8.tflite")
    exact = model("encode_frame", image=squares)["image_features"]
    frames = small("encode_frame", image=squares)["image_features"]
    # Other regions need not be the same ones: they are chosen by scores that are rounded too.
    of_regions = small("encode_image", image=squares)["region_features"][:, 0]
    for found in (frames, of_regions):
        lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(found, axis=1)
        assert ((exact * found).sum(axis=1) > 0.9 * lengths).all()


@pytest.mark.slow
def test_the_real_cnn_is_converted(
    make_run: Callable[..., TrainedRun],
    pictures: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from ai_edge_litert.interpreter import Interpreter

    monkeypatch.setattr(backbone, "build_network", build_real_network)
    run = make_run(tmp_path / "run", "generate/full_frame", **{"regions.proposer": "none"})
    run.extractor.cnn = backbone.load_backbone("efficientnet_lite0")
    functions = TfliteFunctions(run).trace(["encode_frame", "greedy"])
    squares = [prepare_image(tf.constant(picture), 64).numpy() for picture in pictures]
    expected = run.extractor.extract_frames(tf.constant(squares)).numpy()
    for variant in ("float32", "int8"):
        content = convert(functions, variant, squares)
        encode = Interpreter(model_content=content).get_signature_runner("encode_frame")
        found = encode(image=np.stack(squares))["image_features"]
        if variant == "float32":
            np.testing.assert_allclose(found, expected, atol=1e-3)
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        assert ((expected * found).sum(axis=1) > 0.9 * lengths).all()


@given(st.floats(0, 0.9), st.floats(0.05, 1), st.integers(40, 500), st.integers(8, 200))
@settings(max_examples=25, deadline=None)
def test_whole_number_weights(start: float, extent: float, length: int, size: int):
    box = tf.constant([[start]]), tf.constant([[min(start + extent, 1.0)]])
    expected = triangle_weights(*box, tf.constant(length), size).numpy()
    found = whole_number_weights(*box, tf.constant(length), size).numpy()
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(found, expected, atol=0.04)


@pytest.mark.slow
def test_a_full_disk_while_converting_is_told(monkeypatch: pytest.MonkeyPatch):
    def save(*_: object, **__: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "/t/variables; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", save)
    with pytest.raises(OSError, match="No space left on device") as raised:
        convert({}, "float32")
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.slow
def test_squares_are_those_of_python(model: TfliteModel, pictures: list[bytes]):
    for picture in pictures:
        expected = prepare_image(tf.constant(picture), 64)
        np.testing.assert_allclose(model.squares([decoded(picture)])[0], expected, atol=0.01)


@pytest.mark.slow
def test_regions_and_scores_are_those_of_python(
    model: TfliteModel, trained: TrainedRun, pictures: list[bytes]
):
    squares = model.squares([decoded(picture) for picture in pictures])
    expected = trained.extractor.compiled(tf.constant(squares))
    found = model("encode_image", image=squares)
    np.testing.assert_allclose(found["boxes"], expected.boxes, atol=1e-6)
    np.testing.assert_allclose(found["region_features"], expected.region_features, atol=1e-3)
    np.testing.assert_allclose(found["region_scores"], expected.scores, atol=1e-3)
    np.testing.assert_array_equal(found["region_mask"], expected.region_mask)
    frames = model("encode_frame", image=squares)["image_features"]
    np.testing.assert_allclose(frames, found["region_features"][:, 0], atol=1e-3)

    token_ids = np.array([[4, 5, 0, 0], [4, 7, 8, 9]], np.int32)
    words = model("embed_text", token_ids=token_ids)
    scores = model(
        "score",
        region_embeddings=found["region_embeddings"],
        region_mask=found["region_mask"],
        **words,
    )["scores"]
    embeddings = trained.alignment_model.encode_regions(expected.region_features)
    in_python = trained.grounder.scorer.of_blocks(
        [(embeddings, expected.region_mask)], tf.RaggedTensor.from_tensor(token_ids, padding=0)
    )
    np.testing.assert_allclose(scores, in_python, rtol=1e-3, atol=1e-4)


def test_padded_sentences_are_embedded_as_the_encoder_does(trained: TrainedRun):
    encoder = trained.alignment_model.sentence_encoder
    token_ids = tf.constant([[4, 5, 6, 7, 8], [9, 0, 0, 0, 0], [0] * 5, [5, 4, 9, 0, 0]])
    found = embed_padded(encoder, token_ids)
    np.testing.assert_allclose(found, encoder(token_ids), atol=1e-5)
    assert not found.numpy()[2].any()


@pytest.mark.slow
def test_what_is_packed(written: Export, trained: TrainedRun, model: TfliteModel):
    for path in written.path.glob("*.tflite"):
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["vocabulary.txt", "export.json"]
    assert tuple(model.words) == trained.vocabulary.words
    assert model.metadata["variant"] == "float32"
    assert model.metadata["options"]["beam_size"] == 3


@pytest.mark.slow
def test_joining_keeps_both(trained: TrainedRun):
    parts = TfliteFunctions(trained).trace(["greedy", "embed_text"])
    alone = [convert({name: function}, "float32") for name, function in parts.items()]
    model = join_models(*alone)
    assert operators(model) == operators(alone[0]) | operators(alone[1])
    from ai_edge_litert.interpreter import Interpreter

    features = np.random.default_rng(0).random([2, 1280], np.float32)
    token_ids = np.array([[4, 5]], np.int32)
    for content, names in ((model, [*parts]), (alone[0], ["greedy"]), (alone[1], ["embed_text"])):
        interpreter = Interpreter(model_content=content)
        assert sorted(interpreter.get_signature_list()) == sorted(names)
        if "greedy" in names:
            found = interpreter.get_signature_runner("greedy")(image_features=features)
            expected = parts["greedy"](tf.constant(features))
            np.testing.assert_array_equal(found["token_ids"], expected["token_ids"])
        if "embed_text" in names:
            found = interpreter.get_signature_runner("embed_text")(token_ids=token_ids)
            expected = parts["embed_text"](tf.constant(token_ids))
            np.testing.assert_allclose(
                found["word_embeddings"], expected["word_embeddings"], atol=1e-5
            )


@pytest.mark.slow
def test_the_example_needs_nothing_else(
    written: Export, trained: TrainedRun, pictures: list[bytes], tmp_path: Path
):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(pictures[0])).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = (tmp_path / "turned.jpg").read_bytes()
    without = "import runpy, sys; sys.modules.update(tensorflow=None, keras=None, visem_tf=None)"
    run = f"{without}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    model = written.path / "captions-float32.tflite"
    done = subprocess.run(
        [sys.executable, "-c", run, str(EXAMPLE), str(model), str(tmp_path / "turned.jpg")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    from visem_tf.images.decode import read_image

    upright = read_image(turned)
    assert upright != turned
    description = trained.describe(trained.extractor.extract([upright]))[0]
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path / 'turned.jpg'}: {description.caption}"
    assert len(lines) == 1 + len(description.boxes)


@pytest.mark.slow
def test_the_command(
    make_run: Callable[..., TrainedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = make_run(tmp_path / "run", "generate/full_frame", **{"regions.proposer": "none"})
    arguments = ["--run-dir", str(run.run.path), "--format", "tflite", "--check", "1"]
    main([*arguments, "--to", str(tmp_path / "to"), "--variants", "float32"])
    assert sorted(path.name for path in (tmp_path / "to" / "1").iterdir()) == [
        "captions-float32.tflite",
        "export.json",
        "vocabulary.txt",
    ]
    printed = capsys.readouterr().out
    assert "greedy 1/1" in printed and "embed_text: left out, the run has no model align" in printed
    with pytest.raises(UserError, match="--variants must be of .* not 'float23'; did you mean"):
        main([*arguments, "--variants", "float23"])


def test_options_of_the_other_format_are_refused(
    make_run: Callable[..., TrainedRun], tmp_path: Path
):
    run = make_run(tmp_path / "run", "generate/full_frame")
    arguments = ["--run-dir", str(run.run.path), "--to", str(tmp_path / "to")]
    for form, option in (
        ("saved_model", ["--variants", "int8"]),
        ("tflite", ["--signatures", "greedy"]),
        ("tflite", ["--unreadable", "fail"]),
    ):
        with pytest.raises(UserError, match=f"{option[0]} applies to --format .*; leave it out"):
            main([*arguments, "--format", form, *option])
    assert not (tmp_path / "to").exists()


def test_what_is_refused(make_run: Callable[..., TrainedRun], tmp_path: Path):
    calibration: Any = lambda count: []  # noqa: E731
    run = make_run(tmp_path / "detector", **{"regions.proposer": "retinanet"})
    with pytest.raises(UserError, match="retinanet cannot be written as TFLite; train a run with"):
        export_tflite(run, tmp_path / "to", calibration=calibration)
    untrained = make_run(tmp_path / "untrained", **{"regions.proposer": "none"})
    with pytest.raises(UserError, match="no trained model to export"):
        export_tflite(untrained, tmp_path / "to", calibration=calibration)
    with pytest.raises(ValueError, match="int8 needs sample images"):
        convert({}, "int8")
    assert not (tmp_path / "to").exists()
