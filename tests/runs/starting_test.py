"""Runs that start from another model."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from untrained import WORDS, make_run, replace_config

from visem_tf.cli import parse_arguments
from visem_tf.config import Config
from visem_tf.config.options import make_parser
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.publish import publish
from visem_tf.runs.opening import open_run
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runs.starting import (
    copy_parts,
    first_vocabulary,
    parts_to_copy,
    start_alignment,
    start_generator,
)
from visem_tf.text import Vocabulary


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return make_run(folder, "align", "generate/full_frame", seed=5, **{"align.epochs": 77})


def parse(*arguments: str) -> Config:
    return parse_arguments(make_parser("fit", "Trains."), arguments)[0]


def test_the_configuration_is_that_of_the_model(source, published_model, monkeypatch, tmp_path):
    config = parse("--init-from", str(source.run.path), "--data-dir", str(tmp_path))
    assert config.init_from == str(source.run.path)
    assert (config.align.epochs, config.generate.hidden_dim) == (77, 8)
    assert (config.dataset, config.run_dir) == (
        "auto",
        str(Path("runs").absolute() / f"{tmp_path.name}-default"),
    )
    assert parse("--init-from", str(source.run.path), "--preset", "default").align.epochs == 8
    assert parse("--init-from", str(source.run.path), "--align.epochs", "3").align.epochs == 3
    monkeypatch.setattr(
        "visem_tf.runtime.model_places.packaged_models", lambda: {"flickr8k": published_model}
    )
    assert parse("--init-from", "flickr8k").init_from == "flickr8k"
    for options, message in (
        (["--init-from", "flicker8k"], "did you mean flickr8k"),
        (["--freeze", "word_vectors"], "give --init-from"),
        (["--init-from", "flickr8k", "--freeze", "words"], "did you mean word_vectors"),
        (["--init-from", "flickr8k", "--align.word_vectors", "v"], "both bring vectors of words"),
    ):
        with pytest.raises(UserError, match=message):
            parse(*options)


def build(words: int) -> AlignmentModel:
    model = AlignmentModel(
        RegionEncoder(8, feature_scale=10.0), SentenceEncoder(words, 8, 7, word_dim=6)
    )
    feature_dim = source_dim()
    model.build({"region_features": (None, None, feature_dim), "token_ids": (None, None)})
    return model


def source_dim() -> int:
    from visem_tf.regions.backbone import FEATURE_DIM

    return FEATURE_DIM


def test_the_vocabulary_grows_and_weights_are_copied(source, capsys):
    config = Config(init_from=str(source.run.path))
    vocabulary = first_vocabulary(config).grown_by(["a", "zebra"])
    assert vocabulary.words == (*WORDS, "zebra")
    assert first_vocabulary(Config()) is None
    model = build(len(vocabulary))
    start_alignment(config, model, vocabulary)
    assert "1 words are new" in capsys.readouterr().out
    ids = vocabulary.encode(["a red dog runs"]).to_tensor()
    np.testing.assert_array_equal(
        model.sentence_encoder(ids), source.alignment_model.sentence_encoder(ids)
    )
    before = [np.array(weight) for weight in model.weights]
    start_alignment(Config(), model, Vocabulary(WORDS))  # without init_from nothing happens
    for weight, expected in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_weights_that_do_not_fit_are_refused(source):
    config = Config(init_from=str(source.run.path))
    other = Vocabulary((*WORDS[:4], "zebra", *WORDS[4:]))
    with pytest.raises(UserError, match="do not begin with those of"):
        start_alignment(config, build(len(other)), other)
    vocabulary = Vocabulary(WORDS)
    wide = AlignmentModel(RegionEncoder(9), SentenceEncoder(len(WORDS), 9, 7, word_dim=6))
    wide.build({"region_features": (None, None, 5), "token_ids": (None, None)})
    with pytest.raises(UserError, match=r"alignment: the weights of .* do not fit.*--preset"):
        start_alignment(config, wide, vocabulary)


def test_a_part_that_the_model_lacks_starts_at_random(source, capsys):
    config = Config(init_from=str(source.run.path))
    start_generator(config, "regions", source.full_frame_generator, Vocabulary(WORDS))
    assert "region generator: " in (printed := capsys.readouterr().out)
    assert "starts from random weights" in printed


def test_a_trained_proposer_comes_with_the_model(tmp_path):
    trained = {"regions.proposer": "trained"}
    made = make_run(tmp_path / "run", "align", **trained)
    publish(made, str(tmp_path / "published"), "published")
    config = Config(init_from=str(tmp_path / "published"), run_dir=str(tmp_path / "new"))
    run = RunDirectory(config.run_dir)
    copy_parts(parts_to_copy(config.updated(trained)), run)
    copied = run.region_weights.proposer
    assert copied.read_bytes() == (tmp_path / "published" / "proposer.npz").read_bytes()
    with pytest.raises(UserError, match=r"joint\.train has one set of word vectors"):
        parts_to_copy(
            config.updated({"joint.train": True, "align.word_dim": 8, "generate.word_dim": 8})
        )
    (tmp_path / "published" / "alignment.npz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"alignment\.npz is damaged"):
        parts_to_copy(config)


def test_only_the_first_call_needs_the_model(untrained_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(untrained_run.path, copy)
    config = (
        RunDirectory(copy)
        .recorded_config()
        .updated({"run_dir": str(copy), "init_from": str(tmp_path / "gone")})
    )
    replace_config(copy, config)
    assert open_run(config).config == config
    state = json.loads((copy / "state.json").read_text())
    (copy / "state.json").write_text(json.dumps({**state, "data": None}))  # an interrupted call
    with pytest.raises(UserError, match="gone"):
        open_run(config)


def test_a_published_model_does_not_name_the_model_it_started_from(source, tmp_path):
    path = tmp_path / "run"
    made = make_run(
        path, "align", **{"init_from": str(source.run.path), "freeze": ["word_vectors"]}
    )
    publish(made, str(tmp_path / "published"), "published")
    written = json.loads((tmp_path / "published" / "config.json").read_text())
    assert (written["init_from"], written["freeze"]) == ("", [])
