"""Generators of runs: which checkpoint is used, and ensembles of several runs."""

import json
import shutil

import numpy as np
import pytest
from untrained import make_run, replace_config

from visem_tf import evaluate
from visem_tf.decoding import EnsembleModel, RerankedModel
from visem_tf.errors import UserError
from visem_tf.regions.extractor import Regions
from visem_tf.runs.trained_run import TrainedRun

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run."""
    return make_run(tmp_path_factory.mktemp("run"), "align", "generate/full_frame").run


@pytest.fixture
def copy_run(run, tmp_path):
    """Copies the untrained run."""

    def copy_run(name):
        shutil.copytree(run.path, tmp_path / name)
        return tmp_path / name

    return copy_run


@pytest.fixture
def other_run(copy_run):
    """A run with another generator."""
    path = copy_run("other")
    give_another_generator(path)
    return path


def give_another_generator(path):
    generator = TrainedRun(path).full_frame_generator
    bias = generator.output_projection.bias
    bias.assign(np.random.default_rng(0).normal(size=bias.shape))
    generator.save(path / "checkpoints" / "generate" / "full_frame" / "best.keras")


def with_ensemble(run, *paths):
    config = TrainedRun(run.path).config
    config = config.updated({"generate.ensemble": [str(path) for path in paths]})
    return TrainedRun(run.path, config).full_frame_generator


def captions(run_dir):
    results = json.loads((run_dir / "captions_test.json").read_text())
    return [result["caption"] for result in results]


def test_the_generator_trained_on_cider_is_used_if_it_is_kept(copy_run):
    copy = copy_run("copy")
    before = TrainedRun(copy).full_frame_generator.get_weights()
    tuned = TrainedRun(copy).full_frame_generator
    tuned.output_projection.bias.assign(tuned.output_projection.bias + 1.0)
    folder = copy / "checkpoints" / "generate" / "full_frame_cider"
    folder.mkdir()
    tuned.save(folder / "best.keras")
    after = TrainedRun(copy).full_frame_generator.get_weights()
    assert sum((a != b).any() for a, b in zip(before, after, strict=True)) == 1


def test_an_ensemble_averages_the_probabilities_of_its_runs(run, other_run):
    together = with_ensemble(run, other_run)
    assert isinstance(together, EnsembleModel)
    features = np.random.default_rng(0).normal(size=[3, 1280]).astype("f4")
    probabilities = []
    for model in (together, *together.members):
        log_probs, _ = model.step(np.array([1, 1, 1]), model.initial_state(features))
        probabilities.append(np.exp(log_probs))
    mean = (probabilities[1] + probabilities[2]) / 2
    np.testing.assert_allclose(probabilities[0], mean, rtol=1e-5)
    assert np.abs(probabilities[1] - probabilities[2]).max() > 1e-4


def test_a_run_brings_all_its_members_to_an_ensemble(run, other_run):
    config = TrainedRun(other_run).config
    replace_config(other_run, config.updated({"generate.members": 2}))
    folder = other_run / "checkpoints" / "generate"
    with pytest.raises(UserError, match=r"has no checkpoints/generate/full_frame_2/best.keras"):
        with_ensemble(run, other_run)
    shutil.copytree(folder / "full_frame", folder / "full_frame_2")
    assert len(with_ensemble(run, other_run).members) == 3


def test_runs_of_an_ensemble_must_match(run, other_run, copy_run, tmp_path):
    with pytest.raises(UserError, match="has no full-frame generator"):
        with_ensemble(run, tmp_path)
    words = copy_run("words") / "vocabulary.txt"
    words.write_text(words.read_text() + "another\n")
    with pytest.raises(UserError, match="has another vocabulary"):
        with_ensemble(run, words.parent)
    config = TrainedRun(other_run).config
    replace_config(other_run, config.updated({"regions.num_regions": 5}))
    assert with_ensemble(run, other_run)
    replace_config(other_run, config.updated({"regions.crop_size": 64}))
    with pytest.raises(UserError, match="trained on other image features"):
        with_ensemble(run, other_run)


def test_a_vocabulary_of_another_size_is_refused(copy_run):
    path = copy_run("words") / "vocabulary.txt"
    words = path.read_text()
    for changed in (words + "another\n", words.rpartition("\n")[0].rpartition("\n")[0] + "\n"):
        path.write_text(changed)
        damaged = TrainedRun(path.parent)
        for name in ("alignment_model", "full_frame_generator"):
            with pytest.raises(UserError, match=r"vocabulary.txt has \d+ words, but the models"):
                getattr(damaged, name)


def test_a_checkpoint_of_another_cell_or_kind_is_refused(run):
    recorded = TrainedRun(run.path).config
    for name, value, message in (
        ("cell", "gru", "trained with generate.cell rnn, and cannot be used with gru"),
        ("model", "attention", "contains a CaptionGenerator, not a AttentionGenerator"),
    ):
        config = recorded.updated({f"generate.{name}": value, "generate.regions": False})
        with pytest.raises(UserError, match=message):
            TrainedRun(run.path, config).full_frame_generator  # noqa: B018


def test_a_description_has_the_attention_of_every_word(tmp_path):
    attention = {"model": "attention", "regions": False}
    run = make_run(tmp_path, "align", "generate/full_frame", generate=attention)
    random = np.random.default_rng(0)
    features = random.normal(size=[1, 4, 1280]).astype("f4")
    boxes = np.tile(np.float32([0, 0, 1, 1]), (1, 4, 1))
    regions = Regions(features, boxes, np.ones([1, 4], "f4"), np.ones([1, 4], bool))
    [description] = run.describe(regions)
    words = description.caption.split()
    assert description.attention.shape == (len(words), 4)
    np.testing.assert_allclose(description.attention.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.slow
def test_a_finished_run_may_search_differently_and_in_an_ensemble(untrained_run, tmp_path):
    run_dir, other = tmp_path / "run", tmp_path / "other"
    for path in (run_dir, other):
        shutil.copytree(untrained_run.path, path)
    give_another_generator(other)
    alone = captions(run_dir)
    command = ["--run-dir", str(run_dir), "--cache-dir", str(untrained_run.cache_dir)]
    evaluate.main([*command, "--generate.ensemble", str(other)])
    assert captions(run_dir) != alone
    evaluate.main(command)
    assert captions(run_dir) == alone


def test_the_alignment_ranks_sentences_if_it_was_trained(tmp_path):
    changes = {"generate.model": "attention", "generate.alignment_weight": 2.0}
    both = make_run(tmp_path / "both", "align", "generate/full_frame", **changes)
    model = both.full_frame_generator
    assert isinstance(model, RerankedModel)
    assert model.weight == 2.0
    assert model.alignment is both.alignment_model  # in memory once
    alone = make_run(tmp_path / "alone", "generate/full_frame", **changes)
    assert not isinstance(alone.full_frame_generator, EnsembleModel)
