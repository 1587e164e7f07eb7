"""Commands without `--run-dir`: they use the model in the package."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import visem_tf
from visem_tf import describe, search
from visem_tf.errors import UserError
from visem_tf.runtime import model_places

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def photo(tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_describe_and_search_use_the_packaged_model(packaged_model, photo, tmp_path):
    model = visem_tf.load()
    assert (model.name, model.run.run.path) == ("flickr8k", packaged_model)
    describe.main([photo, "--json", str(tmp_path / "a.json"), "--engine", "tensorflow"])
    [written] = json.loads((tmp_path / "a.json").read_text())
    assert written == model.describe(photo).to_dict()
    word = model.run.vocabulary.words[-1]
    options = ["--cache-dir", str(tmp_path / "cache"), "--json", str(tmp_path / "b.json")]
    search.main(["--images", photo, word, *options])
    [found] = json.loads((tmp_path / "b.json").read_text())
    assert found == model.search(word, [photo], cache_dir=tmp_path / "cache").to_dict()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("describe", ["a.jpg"]),
        ("search", ["--images", "a", "a dog"]),
        ("demo.__main__", []),
        ("export.__main__", ["--to", "a"]),
        ("evaluate", ["--to", "a"]),
        ("publish", ["--to", "a"]),
    ],
)
def test_every_command_has_the_packaged_model(command, arguments, packaged_model, monkeypatch):
    module = importlib.import_module(f"visem_tf.{command}")
    parse, seen = module.parse_arguments, []

    def understand(*args, **options):
        seen.append(parse(*args, **options)[0].run_dir)
        raise RuntimeError("the command line was understood")

    monkeypatch.setattr(module, "parse_arguments", understand)
    for model in ([], ["--run-dir", "flickr8k"]):
        with pytest.raises(RuntimeError, match="was understood"):
            module.main([*arguments, *model])
    assert seen == [str(packaged_model)] * 2
    monkeypatch.setattr(model_places, "packaged_models", dict)
    with pytest.raises(UserError, match="--run-dir is missing: this installation has no packaged"):
        module.main(arguments)


def test_a_packaged_model_is_complete():
    """Whatever models the package has, their files are undamaged and can be used."""
    for name, folder in model_places.packaged_models().items():
        model = visem_tf.load(name)
        assert model.name == name == folder.name
        assert model.run.has("align") and model.run.has("generate/full_frame")
        assert len(model.run.vocabulary) > 4
