"""Which requests are answered from a prepared file, and how `describe` makes and uses it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visem_tf import describe, preparing
from visem_tf.cli import parse_arguments
from visem_tf.config import Config
from visem_tf.config.options import make_parser
from visem_tf.errors import UserError
from visem_tf.images.sources import ImageSource
from visem_tf.loaded_model import LoadedModel
from visem_tf.report.results import ImageDescription
from visem_tf.runs.description import Description


@pytest.fixture
def photo(tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.fixture
def options(published_model: Path, tmp_path: Path) -> list[str]:
    return ["--run-dir", str(published_model), "--cache-dir", str(tmp_path / "cache")]


def config_of(options: list[str]) -> Config:
    return parse_arguments(make_parser("describe", ""), options, finished_run=True)[0]


def described(source: ImageSource, caption: str) -> ImageDescription:
    nothing = np.zeros([0])
    found = Description(caption, 0.0, np.zeros([0, 4]), [], nothing, nothing)
    return ImageDescription(source, found)


class Prepared:
    """Stands in for `PreparedModel`, which needs a converted file."""

    describes_regions = False

    def describe(self, sources, failures):
        yield from (described(source, "by litert") for source in sources)


@pytest.fixture(autouse=True)
def by_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptions by TensorFlow that take no time."""

    def batches(model, sources, *options):
        yield sources, None

    monkeypatch.setattr(LoadedModel, "batches", batches)
    monkeypatch.setattr(
        LoadedModel,
        "describe_batch",
        lambda model, sources, regions: [described(each, "by tensorflow") for each in sources],
    )


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the conversion; returns the names of the models that were prepared."""
    names: list[str] = []

    def prepare(run):
        names.append(run.run.name)
        file = preparing.prepared_file(run.config)
        file.parent.mkdir(parents=True)
        file.touch()
        return Prepared()

    monkeypatch.setattr(preparing, "prepare", prepare)
    monkeypatch.setattr(describe, "prepare", prepare)
    monkeypatch.setattr(preparing, "PreparedModel", lambda file, threads: Prepared())
    return names


def test_the_modules_of_a_fast_start_do_not_import_tensorflow(run_python: Callable[..., str]):
    run_python(
        "import sys\n"
        "import visem_tf.describe\n"
        "assert not {'tensorflow', 'keras', 'tensorflow_text'} & set(sys.modules)\n"
    )


def test_the_first_answer_prepares_the_second(options, photo, prepared, capsys):
    describe.main([*options, photo])
    assert prepared == ["flickr8k"]
    assert capsys.readouterr().out == f"{photo}: by tensorflow\n"
    describe.main([*options, photo])
    found = capsys.readouterr()
    assert prepared == ["flickr8k"] and found.out == f"{photo}: by litert\n"
    assert "no generator of region descriptions" in found.err
    describe.main([*options, photo, "--engine", "tensorflow"])
    assert capsys.readouterr().out == f"{photo}: by tensorflow\n"
    assert prepared == ["flickr8k"]


def test_litert_is_prepared_before_the_answer(options, photo, prepared, capsys):
    describe.main([*options, photo, "--engine", "litert"])
    assert prepared == ["flickr8k"]
    assert capsys.readouterr().out == f"{photo}: by litert\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("no form"), RuntimeError("odd")])
def test_what_prevents_the_preparation_does_no_harm(
    error, options, published_model, monkeypatch, capsys
):
    def fail(run):
        raise error

    monkeypatch.setattr(preparing, "prepare", fail)
    run = type("Run", (), {"config": config_of(options), "run": type("", (), {"name": "dogs"})})
    preparing.prepare_for_next_time(run)
    expected = "visem_tf: warning: dogs is not prepared (odd)\n"
    assert capsys.readouterr().err == (expected if isinstance(error, RuntimeError) else "")


def test_a_cache_that_cannot_be_written_is_left_alone(options, tmp_path, prepared):
    (tmp_path / "cache").touch()  # not a folder, not even for root
    config = config_of(options[:2]).updated({"cache_dir": str(tmp_path / "cache")})
    preparing.prepare_for_next_time(type("Run", (), {"config": config}))
    assert prepared == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sentence", "a dog"], "--engine litert has no --sentence; use --engine auto"),
        (["--boxes", "boxes.json"], "--engine litert has no --boxes"),
        (
            ["--beam", "2"],
            "answers as the model was published, and cannot change generate.beam_size",
        ),
        (["--beta", "2"], "cannot change infer.beta"),
        (["--cache-dir", "memory://cache"], "needs a --cache-dir on the disk"),
    ],
)
def test_what_only_tensorflow_answers_is_refused(more, message, options, photo):
    with pytest.raises(UserError, match=re.escape(message)):
        describe.main([*options, photo, "--engine", "litert", *more])


def test_a_run_directory_is_refused(published_model, photo):
    run = published_model.parent / "run"
    with pytest.raises(UserError, match="needs a published model, and .*run is a run directory"):
        describe.main(["--run-dir", str(run), photo, "--engine", "litert"])


@pytest.mark.parametrize("missing", ["SHA256SUMS", "config.json"])
def test_an_incomplete_model_is_named(missing, published_model, photo, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(published_model, copy)
    config = config_of(["--run-dir", str(copy)])
    (copy / missing).unlink()
    assert preparing.obstacle(config).startswith("needs a complete model")


def test_a_place_belongs_to_the_files_of_a_model_and_to_a_version(
    options, published_model, tmp_path, monkeypatch
):
    file = preparing.prepared_file(config_of(options))
    assert file.parent == tmp_path / "cache" / "prepared"
    copy = tmp_path / "other" / "flickr8k"
    shutil.copytree(published_model, copy)
    config = config_of(["--run-dir", str(copy), *options[2:]])
    assert preparing.prepared_file(config) == file
    sums = (copy / "SHA256SUMS").read_text()
    (copy / "SHA256SUMS").write_text(sums.replace("a", "b"))
    assert preparing.prepared_file(config) != file
    monkeypatch.setattr(preparing, "__version__", "99")
    assert preparing.prepared_file(config_of(options)) != file


def test_a_damaged_file_is_not_used(options):
    config = config_of(options)
    assert preparing.open_prepared(config) is None
    file = preparing.prepared_file(config)
    file.parent.mkdir(parents=True)
    for content in (b"", b"TFL3" * 100):
        file.write_bytes(content)
        assert preparing.open_prepared(config) is None


def test_the_number_of_threads_and_the_batch_size_are_free(options):
    free = ["--compute.threads", "1", "--regions.batch_size", "2", "--evaluate.beam_size", "3"]
    assert preparing.obstacle(config_of([*options, *free])) is None
