"""Files of models: what wrote them, and that old and foreign ones are loaded or refused."""

import errno
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import visem_tf
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.saving import load_model, read_versions, save_model
from visem_tf.models.sentence_encoder import SentenceEncoder

RNG = np.random.default_rng(0)
REGIONS = tf.constant(RNG.random([2, 3, 5], np.float32))
TOKEN_IDS = tf.constant([[1, 4, 5], [1, 6, 0]])


def alignment() -> AlignmentModel:
    words = SentenceEncoder(10, 8, 7, word_dim=6)
    return AlignmentModel(RegionEncoder(8, feature_scale=10.0), words, margin=0.5)


MODELS: dict[str, tuple[Callable[[], keras.Model], dict[str, tf.Tensor]]] = {
    "alignment": (alignment, {"region_features": REGIONS, "token_ids": TOKEN_IDS}),
    "rnn": (
        lambda: CaptionGenerator(10, 8, 6, feature_scale=10.0),
        {"image_features": REGIONS[:, 0], "token_ids": TOKEN_IDS},
    ),
    "lstm": (
        lambda: CaptionGenerator(10, 8, 6, cell="lstm"),
        {"image_features": REGIONS[:, 0], "token_ids": TOKEN_IDS},
    ),
    "attention": (
        lambda: AttentionGenerator(10, 8, 6, cell="gru", feature_scale=10.0),
        {"region_features": REGIONS, "token_ids": TOKEN_IDS},
    ),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model = MODELS["rnn"][0]()
    model(MODELS["rnn"][1])
    save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


def rewritten(file: Path, part: str, change: Callable[[Any], Any] | None) -> Path:
    """A copy in which a JSON part is changed, or left out."""
    copy = file.with_name(f"changed-{file.name}")
    with zipfile.ZipFile(file) as before, zipfile.ZipFile(copy, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == part:
                if change is None:
                    continue
                content = json.dumps(change(json.loads(content))).encode()
            after.writestr(name, content)
    return copy


@pytest.mark.parametrize("name", MODELS)
def test_what_is_loaded_gives_the_same(name: str, tmp_path: Path):
    make, inputs = MODELS[name]
    model = make()
    expected = model(inputs)
    path = tmp_path / "new" / "model.keras"
    save_model(model, path)
    loaded = load_model(path, type(model))
    np.testing.assert_array_equal(loaded(inputs), expected)
    before, after = model.get_config(), loaded.get_config()
    assert all(before[name] == value for name, value in after.items() if "encoder" not in name)
    about = read_versions(path)
    assert about["format"] == 1
    assert about["versions"]["visem_tf"] == visem_tf.__version__
    assert about["versions"]["keras"] == keras.__version__
    assert [entry.name for entry in path.parent.iterdir()] == ["model.keras"]


def test_keras_reads_it_too(file: Path):
    assert isinstance(keras.saving.load_model(file), CaptionGenerator)


def test_a_file_from_before_versions_and_options(file: Path):
    early = rewritten(file, "visem_tf.json", None)
    assert read_versions(early) == {}

    def without_options(config: dict) -> dict:
        for option in ("cell", "word_dropout", "label_smoothing"):
            del config["config"][option]
        return config

    older = rewritten(early, "config.json", without_options)
    inputs = MODELS["rnn"][1]
    expected = load_model(file, CaptionGenerator)(inputs)
    np.testing.assert_array_equal(load_model(older, CaptionGenerator)(inputs), expected)


def test_arguments_of_options_that_are_gone_are_left_out(file: Path):
    def with_retired(config: dict) -> dict:
        config["config"] |= {"scheduled_sampling": 0.2, "sampling_steps": 9, "sampled_words": 4}
        return config

    older = rewritten(file, "config.json", with_retired)
    inputs = MODELS["rnn"][1]
    expected = load_model(file, CaptionGenerator)(inputs)
    np.testing.assert_array_equal(load_model(older, CaptionGenerator)(inputs), expected)


def test_what_is_refused(file: Path, tmp_path: Path):
    def newer(about: dict) -> dict:
        return {"format": 2, "versions": {**about["versions"], "visem_tf": "9.1"}}

    with pytest.raises(
        UserError, match=r"by visem_tf 9\.1 in a newer format \(2, this version reads 1\)"
    ):
        load_model(rewritten(file, "visem_tf.json", newer), CaptionGenerator)

    def with_option(config: dict) -> dict:
        config["config"]["telepathy"] = True
        return config

    with pytest.raises(UserError, match="its option telepathy is unknown to this version; install"):
        load_model(rewritten(file, "config.json", with_option), CaptionGenerator)

    def of_other_class(config: dict) -> dict:
        return {**config, "class_name": "Oracle", "registered_name": "visem_tf>Oracle"}

    with pytest.raises(UserError, match="its class Oracle is unknown to this version"):
        load_model(rewritten(file, "config.json", of_other_class), CaptionGenerator)

    def larger(config: dict) -> dict:
        config["config"]["hidden_dim"] = 9
        return config

    with pytest.raises(UserError, match="cannot be loaded by .*: its weights do not fit"):
        load_model(rewritten(file, "config.json", larger), CaptionGenerator)

    def unbuildable(config: dict) -> dict:
        return {**config, "build_config": {"input_shape": {"image_features": [None]}}}

    with pytest.raises(UserError, match="cannot be loaded by .*: it cannot be built as its conf"):
        load_model(rewritten(file, "config.json", unbuildable), CaptionGenerator)

    def of_list(about: dict) -> list:
        return [about]

    with pytest.raises(UserError, match=r"not a readable .keras file \(it must be an object"):
        load_model(rewritten(file, "visem_tf.json", of_list), CaptionGenerator)
    with pytest.raises(UserError, match="contains a CaptionGenerator, not a AlignmentModel"):
        load_model(file, AlignmentModel)
    with pytest.raises(UserError, match="is not a .keras file .it contains no config.json"):
        load_model(rewritten(file, "config.json", None), CaptionGenerator)
    for content in (b"", b"no archive", file.read_bytes()[:-100]):
        (tmp_path / "broken.keras").write_bytes(content)
        with pytest.raises(UserError, match="broken.keras is not a readable .keras file"):
            load_model(tmp_path / "broken.keras", CaptionGenerator)
    with pytest.raises(UserError, match="No such file"):
        load_model(tmp_path / "missing.keras", CaptionGenerator)


def test_a_failure_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch):
    before = file.read_bytes()
    model = load_model(file, CaptionGenerator)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OSError, match="No space"):
        save_model(model, file)
    assert file.read_bytes() == before
    assert [entry.name for entry in file.parent.iterdir()] == ["model.keras"]
    shutil.rmtree(file.parent)


def test_a_full_disk_of_temporary_files_is_no_damage(file: Path, monkeypatch: pytest.MonkeyPatch):
    def unpack(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.saving, "load_model", unpack)
    with pytest.raises(OSError, match="No space") as raised:
        load_model(file, CaptionGenerator)
    assert raised.value.filename == tempfile.gettempdir()


def test_optimizers_stay_out_of_files(tmp_path):
    model = alignment()
    model({"region_features": REGIONS, "token_ids": TOKEN_IDS})
    save_model(model, tmp_path / "untrained.keras")
    optimizer = keras.optimizers.Adam(0.1)
    model.compile(optimizer=optimizer)
    optimizer.build(model.trainable_variables)
    save_model(model, tmp_path / "trained.keras")
    assert model.optimizer is optimizer and model.compiled
    untrained, trained = (
        (tmp_path / f"{name}.keras").stat().st_size for name in ("untrained", "trained")
    )
    assert trained == pytest.approx(untrained, rel=0.02)
    read = keras.models.load_model(tmp_path / "trained.keras")
    assert not read.compiled
    for a, b in zip(model.weights, read.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import keras, visem_tf",
        "import visem_tf, tensorflow, keras",
        "import visem_tf; visem_tf.smooth_alignment; import keras",
    ],
)
def test_keras_reads_files_after_the_import_of_the_package(imports, tmp_path, run_python):
    for name, (make, inputs) in MODELS.items():
        model = make()
        model(inputs)
        save_model(model, tmp_path / f"{name}.keras")
    source = f"""
import pathlib
{imports}
for path in sorted(pathlib.Path({str(tmp_path)!r}).glob("*.keras")):
    print(type(keras.models.load_model(path)).__name__)
"""
    assert run_python(source).split() == [
        "AlignmentModel",
        "AttentionGenerator",
        "CaptionGenerator",
        "CaptionGenerator",
    ]
