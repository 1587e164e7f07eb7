"""A run whose full-frame captions are written by several generators together."""

import json
import shutil

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from visem_tf import evaluate, fit
from visem_tf.config import Config
from visem_tf.decoding import EnsembleModel
from visem_tf.errors import UserError
from visem_tf.runs.generators import checkpoint
from visem_tf.runs.trained_run import TrainedRun

TINY = (
    "--preset smoke --regions.picture_size 96 --regions.num_regions 4 --generate.epochs 2 "
    "--generate.beam_size 2 --evaluate.beam_size 2 --generate.regions false "
    "--generate.members 2 --generate.cider_epochs 1 --generate.cider_samples 2"
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, cache_dir):
    path = tmp_path_factory.mktemp("runs") / "members"
    fit.main(command(path, cache_dir, "features,align,generate,evaluate,report"))
    return path


def command(run_dir, cache_dir, stages):
    where = ["--run-dir", str(run_dir), "--cache-dir", str(cache_dir), "--stages", stages]
    return [*TINY.split(), *where]


def weights(model):
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def test_each_starts_and_learns_on_its_own(run_dir):
    stages = json.loads((run_dir / "state.json").read_text())["stages"]
    summary = stages["generate"]["summary"]
    names = ["full_frame", "full_frame_2"]
    assert set(summary) == {*names, *(f"{name}_cider" for name in names)}
    assert summary["full_frame"]["val_perplexity"] != summary["full_frame_2"]["val_perplexity"]
    one, two = TrainedRun(run_dir).full_frame_generator.members
    assert np.abs(weights(one) - weights(two)).max() > 0.1
    report = (run_dir / "report.html").read_text()
    for title in ("Full-frame generator 2", "Full-frame generator 2, on CIDEr"):
        assert title in report


def test_all_of_them_show_in_tensorboard(run_dir):
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    for name in ("full-frame generator", "full-frame generator 2"):
        assert {f"{name}/val perplexity", f"{name} on CIDEr/reward"} <= tags
    for tag in ("sentences while training", "sentences of full-frame generator 2 while training"):
        assert tag in tags
    assert not any(tag.startswith("region texts") for tag in tags)


def test_a_word_has_the_mean_of_their_probabilities(run_dir):
    together = TrainedRun(run_dir).full_frame_generator
    features = np.random.default_rng(0).normal(size=[3, 1280]).astype("f4")
    given = []
    for model in (together, *together.members):
        log_probs, _ = model.step(np.array([1, 1, 1]), model.initial_state(features))
        given.append(np.exp(log_probs))
    np.testing.assert_allclose(given[0], (given[1] + given[2]) / 2, rtol=1e-5)
    assert np.abs(given[1] - given[2]).max() > 1e-4


def test_the_first_is_that_of_a_run_with_one(run_dir, cache_dir, tmp_path):
    stages = "features,generate"
    fit.main([*command(tmp_path / "one", cache_dir, stages), "--generate.members", "1"])
    alone = TrainedRun(tmp_path / "one").full_frame_generator
    first = TrainedRun(run_dir).full_frame_generator.members[0]
    np.testing.assert_array_equal(weights(alone), weights(first))


def test_a_run_in_company_brings_all_of_them(run_dir, cache_dir, tmp_path):
    run = TrainedRun(run_dir)
    config = run.config.updated({"generate.ensemble": [str(run_dir)]})
    together = TrainedRun(run_dir, config).full_frame_generator
    assert isinstance(together, EnsembleModel)
    assert len(together.members) == 4


def test_training_goes_on_with_the_one_that_is_missing(run_dir, cache_dir, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    for name in ("full_frame_2", "full_frame_2_cider"):
        shutil.rmtree(copy / "checkpoints" / "generate" / name)
    with pytest.raises(UserError, match=r"has no checkpoints/generate/full_frame_2/best.keras"):
        evaluate.main(["--run-dir", str(copy), "--cache-dir", str(cache_dir)])
    state = json.loads((copy / "state.json").read_text())
    state["stages"]["generate"]["done"] = False
    (copy / "state.json").write_text(json.dumps(state))
    fit.main(command(copy, cache_dir, "features,generate"))
    for before, after in zip(
        TrainedRun(run_dir).full_frame_generator.members,
        TrainedRun(copy).full_frame_generator.members,
        strict=True,
    ):
        np.testing.assert_array_equal(weights(before), weights(after))
    assert checkpoint(copy, "full_frame_2").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generate.full_frame": False}, "generate.members 2 are generators of whole-picture"),
        ({"joint.train": True, "align.word_dim": 256}, "joint.train has one generator"),
    ],
)
def test_what_excludes_several_is_said(changes, message):
    with pytest.raises(UserError, match=message):
        Config().updated({"generate.members": 2, **changes})
