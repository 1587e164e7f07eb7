"""Full-frame generators of a run: several members, and what goes beyond the paper."""

import json
import shutil

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import quick_stages
from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.runs.model_files import ModelFiles
from visem_tf.runs.opening import open_run
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.stages import run_stages

SMALL = {"generate.epochs": 1, "generate.regions": False}
CIDER = {"generate.cider_epochs": 1, "generate.cider_samples": 2, "generate.cider_batch_size": 3}
MEMBERS = {**SMALL, **CIDER, "generate.members": 2}
BEYOND = {
    **SMALL,
    **CIDER,
    "align": {
        "epochs": 2,
        "encoder": "gru",
        "score": "attention",
        "loss": "hinge_max",
        "margin": 0.2,
        "hinge_warmup_epochs": 1,
    },
    "generate.model": "attention",
    "generate.cell": "gru",
    "generate.attend_to": "embeddings",
    "generate.doubly_stochastic": 1.0,
    "generate.deep_output": True,
    "generate.word_dropout": 0.1,
    "generate.label_smoothing": 0.1,
}


@pytest.fixture(scope="module")
def members_run(train_again):
    return train_again("generate", "report", **MEMBERS)


def members(run_dir):
    return TrainedRun(run_dir).full_frame_generator.members


def weights(model):
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


@pytest.mark.slow
def test_members_differ(members_run):
    stages = json.loads((members_run / "state.json").read_text())["stages"]
    summary = stages["generate"]["summary"]
    names = ["full_frame", "full_frame_2"]
    assert set(summary) == {*names, *(f"{name}_cider" for name in names)}
    assert summary["full_frame"]["val_perplexity"] != summary["full_frame_2"]["val_perplexity"]
    one, two = members(members_run)
    assert np.abs(weights(one) - weights(two)).max() > 0.1
    report = (members_run / "report.html").read_text()
    for title in ("Full-frame generator 2", "Full-frame generator 2, on CIDEr"):
        assert title in report


@pytest.mark.slow
def test_tensorboard_shows_all_members(members_run):
    events = EventAccumulator(str(members_run / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    for name in ("full-frame generator", "full-frame generator 2"):
        assert {f"{name}/val perplexity", f"{name} on CIDEr/reward"} <= tags
    for tag in ("sentences while training", "sentences of full-frame generator 2 while training"):
        assert tag in tags
    assert not any(tag.startswith("region texts") for tag in tags)


@pytest.mark.slow
def test_a_missing_member_is_trained_again(members_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(members_run, copy)
    for name in ("full_frame_2", "full_frame_2_cider"):
        shutil.rmtree(copy / "checkpoints" / "generate" / name)
    with pytest.raises(UserError, match=r"has no checkpoints/generate/full_frame_2/best.keras"):
        TrainedRun(copy).full_frame_generator  # noqa: B018
    config = TrainedRun(copy).config.updated({"run_dir": str(copy), "stages": ("generate",)})
    with quick_stages():  # as the members were trained
        run_stages(open_run(config), again=("generate",), progress=lambda line: None)
    for before, after in zip(members(members_run), members(copy), strict=True):
        np.testing.assert_array_equal(weights(before), weights(after))
    assert ModelFiles(copy, "").generator("full_frame_2").exists()


@pytest.mark.slow
def test_everything_beyond_the_paper_is_trained(train_again):
    run_dir = train_again("align", "generate", "evaluate", **BEYOND)
    summary = json.loads((run_dir / "state.json").read_text())["stages"]["generate"]["summary"]
    tuned = summary["full_frame_cider"]
    assert tuned["epochs"] == 1
    assert {"reward", "val_cider", "val_cider_before"} <= set(tuned)
    better = tuned["val_cider"] > tuned["val_cider_before"]
    chosen = ModelFiles(run_dir, "").generator("full_frame")
    assert (chosen.parent.name == "full_frame_cider") == better
    assert chosen.exists()
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert set(metrics["captions"]) >= {"greedy", "beam"}
    assert 0 < metrics["ranking"]["image_search"]["r10"] <= 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"generate.full_frame": False},
            "generate.members 2 applies to the generator of whole-image",
        ),
        ({"joint.train": True, "align.word_dim": 256}, "joint.train has one generator"),
    ],
)
def test_members_exclude_other_options(changes, message):
    with pytest.raises(UserError, match=message):
        Config().updated({"generate.members": 2, **changes})
