"""Weight files of 16 bits: what is kept, and what a file cannot make the reader do."""

import json

import keras
import numpy as np
import pytest

from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.saving import load_model
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.models.weight_files import read_weights, write_arrays, write_weights


@pytest.fixture
def model():
    model = AlignmentModel(RegionEncoder(4), SentenceEncoder(9, 4, 5, word_dim=3), margin=0.5)
    model.build({"region_features": (None, None, 6), "token_ids": (None, None)})
    model.region_encoder.scaling.adapt(np.random.default_rng(0).uniform(size=(50, 6)))
    return model


def rounded(array):
    """The numbers with seven significant bits; halves are rounded away from zero."""
    significand, exponent = np.frexp(np.float16(array).astype(np.float64))
    kept = np.sign(significand) * np.floor(np.abs(significand) * 2**7 + 0.5) / 2**7
    return np.ldexp(kept, exponent).astype(np.float32)


def test_weights_and_configuration_come_back_in_half_the_size(model, tmp_path):
    write_weights(model, tmp_path / "a.npz")
    found = load_model(tmp_path / "a.npz", AlignmentModel)
    assert found.margin == 0.5
    assert found.region_encoder.get_config() == model.region_encoder.get_config()
    assert len(found.weights) == len(model.weights)
    for a, b in zip(model.weights, found.weights, strict=True):
        np.testing.assert_array_equal(rounded(np.asarray(a)), b)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        kept = {arrays[name].dtype.name for name in arrays.files if name != "model"}
    assert kept == {"float16"}


def test_numbers_beyond_16_bits_and_integers_are_kept(tmp_path):
    arrays = {"large": np.array([1e6], np.float32), "count": np.array([70_000])}
    write_arrays(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz") as found:
        assert {name: found[name].tolist() for name in found.files} == {
            "large": [1e6],
            "count": [70_000],
        }


def change(path, edit):
    with np.load(path) as found:
        arrays = dict(found)
    about = json.loads(str(arrays["model"]))
    edit(about, arrays)
    np.savez(path, **{**arrays, "model": json.dumps(about)})


def test_a_file_that_names_foreign_classes_is_refused(model, tmp_path):
    path = tmp_path / "a.npz"
    write_weights(model, path)
    lambda_layer = {"module": "keras.layers", "class_name": "Lambda", "registered_name": None}
    lambda_layer["config"] = keras.layers.Lambda(lambda x: x).get_config()

    def foreign(about, arrays):
        about["keras"]["config"]["region_encoder"] = lambda_layer

    change(path, foreign)
    with pytest.raises(UserError, match="names the class 'Lambda', which is unknown"):
        read_weights(path)

    def unknown(about, arrays):
        about["keras"]["config"]["region_encoder"] = {
            "module": "os",
            "class_name": "system",
            "registered_name": "visem_tf>system",
            "config": {},
        }

    change(path, unknown)
    with pytest.raises(UserError, match="names the class 'system'"):
        read_weights(path)


def test_damaged_files_and_other_formats_are_refused(model, tmp_path):
    path = tmp_path / "a.npz"
    write_weights(model, path)
    content = path.read_bytes()
    path.write_bytes(content[:-200])
    with pytest.raises(UserError, match="is not a published model"):
        read_weights(path)
    path.write_bytes(content)
    with pytest.raises(UserError, match="contains a AlignmentModel, not a RegionEncoder"):
        load_model(path, RegionEncoder)
    change(path, lambda about, arrays: arrays.pop(next(iter(arrays.keys() - {"model"}))))
    with pytest.raises(UserError, match="its weights do not fit"):
        read_weights(path)
    change(path, lambda about, arrays: about.update(format=2))
    with pytest.raises(UserError, match="another version of visem_tf, in format 2"):
        read_weights(path)
