"""Descriptions by LiteRT: those of TensorFlow, in a process that never imports it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from visem_tf import preparing
from visem_tf.config import Config
from visem_tf.export.description import Export
from visem_tf.export.tflite.functions import TfliteFunctions
from visem_tf.export.tflite.writer import convert
from visem_tf.images.read import ImageError
from visem_tf.images.sources import as_sources
from visem_tf.loaded_model import LoadedModel
from visem_tf.prepared_model import PreparedModel
from visem_tf.runs.trained_run import TrainedRun

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.usefixtures("small_cnn")


@pytest.fixture(scope="module")
def prepared(written: Export) -> PreparedModel:
    return PreparedModel(written.path / "captions-float32.tflite")


def assert_same(found: Any, expected: Any) -> None:
    """Compares JSON whose numbers may differ in the last of their four digits."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, list):
        for each, other in zip(found, expected, strict=True):
            assert_same(each, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=5e-4)
    else:
        assert found == expected


@pytest.mark.slow
def test_descriptions_are_those_of_tensorflow(
    prepared: PreparedModel, trained: TrainedRun, pictures: list[bytes]
):
    narrow = np.random.default_rng(0).integers(0, 256, [3, 200, 3], np.uint8)
    sources, _ = as_sources([*pictures, narrow])
    found = list(prepared.describe(sources))
    assert prepared.describes_regions
    expected = LoadedModel(trained).describe([source.content for source in sources])
    assert [each.source for each in found] == sources
    assert_same([each.to_dict() for each in found], [each.to_dict() for each in expected])
    assert found[0].regions[1].fit is not None


@pytest.mark.slow
def test_unreadable_images_are_collected(prepared: PreparedModel, pictures: list[bytes]):
    sources, _ = as_sources([b"nothing", pictures[0]])
    failures: list[ImageError] = []
    [described] = prepared.describe(sources, failures)
    assert described.image == "images[1]"
    assert [failure.name for failure in failures] == ["images[0]"]
    with pytest.raises(ImageError, match=r"images\[0\]: not an image"):
        list(prepared.describe(sources))


@pytest.mark.slow
def test_a_command_with_a_prepared_model_does_without_tensorflow(
    written: Export,
    published_model: Path,
    pictures: list[bytes],
    tmp_path: Path,
    run_python: Callable[..., str],
):
    recorded = json.loads((published_model / "config.json").read_text())
    recorded.pop("versions")
    cache = {"run_dir": str(published_model), "cache_dir": str(tmp_path / "cache")}
    file = preparing.prepared_file(Config().updated(recorded).updated(cache))
    file.parent.mkdir(parents=True)
    shutil.copy(written.path / "captions-float32.tflite", file)
    (tmp_path / "a.jpg").write_bytes(pictures[0])
    command = [str(tmp_path / "a.jpg"), "--run-dir", str(published_model), "--cache-dir"]
    command += [cache["cache_dir"], "--json", str(tmp_path / "a.json")]
    command += ["--picture", str(tmp_path / "drawn")]
    printed = run_python(
        "import sys\n"
        "from visem_tf import describe\n"
        f"describe.main({command!r})\n"
        "assert not {'tensorflow', 'keras', 'tensorflow_text'} & set(sys.modules)\n"
    )
    [described] = json.loads((tmp_path / "a.json").read_text())
    assert f"a.jpg: {described['caption'] or '(nothing)'}" in printed
    assert Image.open(tmp_path / "drawn" / "a-described.jpg").width >= 480


@pytest.mark.slow
def test_attention_weights_are_those_of_python(make_run: Callable[..., TrainedRun], tmp_path: Path):
    from ai_edge_litert.interpreter import Interpreter

    attention = {"generate": {"model": "attention"}, "regions.proposer": "none"}
    run = make_run(tmp_path / "run", "generate/full_frame", **attention)
    content = convert(TfliteFunctions(run).trace(["attention"]), "float32")
    token_ids = np.array([[4, 5, 2, 0], [6, 7, 8, 2]], np.int32)
    mask = np.array([[True] * 3, [True, True, False]])
    size = (2, 3, run.extractor.feature_dim)
    features = np.random.default_rng(0).normal(size=size).astype(np.float32)
    found = Interpreter(model_content=content).get_signature_runner("attention")(
        region_features=features, region_mask=mask, token_ids=token_ids
    )["attention"]
    inputs = {"region_features": tf.constant(features), "region_mask": tf.constant(mask)}
    with_start = tf.pad(token_ids, [[0, 0], [1, 0]], constant_values=1)
    expected = run.full_frame_generator.attention({**inputs, "token_ids": with_start}).numpy()
    real = token_ids != 0
    np.testing.assert_allclose(found[real], expected[real], atol=1e-5)
    assert (found[1, :, 2] == 0).all()
