"""Loading runs, on untrained models: members, ensembles, and errors for what is missing."""

import numpy as np
import pytest
from untrained import make_run

from visem_tf.decoding import EnsembleModel
from visem_tf.errors import UserError
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.regions.extractor import Regions
from visem_tf.runs.trained_run import TrainedRun

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    names = ("generate/full_frame", "generate/full_frame_2")
    folder = tmp_path_factory.mktemp("members") / "run"
    return make_run(folder, *names, **{"generate.members": 2})


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("single") / "run", "generate/full_frame", seed=1)


def test_all_members_of_all_runs_write_together(members, single):
    assert isinstance(members.full_frame_generator, EnsembleModel)
    assert not isinstance(single.full_frame_generator, EnsembleModel)
    config = single.config.updated({"generate.ensemble": [str(members.run.path)]})
    together = TrainedRun(single.run.path, config).full_frame_generator
    assert isinstance(together, EnsembleModel)
    assert len(together.members) == 3


def test_missing_models_are_named_with_the_command_that_trains_them(single):
    with pytest.raises(UserError, match=r"has no checkpoints/align/best.keras; .* --stages align"):
        _ = single.alignment_model
    with pytest.raises(UserError, match=r"has no checkpoints/generate/regions/.* generate first"):
        _ = single.region_generator
    config = single.config.updated({"generate.regions": False})
    with pytest.raises(UserError, match=r"with --generate.regions false and has no such generator"):
        _ = TrainedRun(single.run.path, config).region_generator
    config = single.config.updated({"generate.members": 2})
    with pytest.raises(UserError, match="has no checkpoints/generate/full_frame_2/best.keras"):
        _ = TrainedRun(single.run.path, config).full_frame_generator


def test_a_folder_without_a_run_and_a_damaged_model_are_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run directory"):
        TrainedRun(tmp_path)
    damaged = make_run(tmp_path / "damaged", "align")
    damaged.run.alignment_model.write_bytes(b"damaged")
    with pytest.raises(UserError, match="is not a readable .keras file") as raised:
        _ = damaged.alignment_model
    assert "\n" not in str(raised.value)


def test_descriptions_leave_out_padded_regions(tmp_path):
    run = make_run(tmp_path / "run", "align", "generate/full_frame", "generate/regions")
    random = np.random.default_rng(0)
    mask = np.array([[True] * 4, [True, True, False, False]])
    features = random.uniform(size=(2, 4, FEATURE_DIM)).astype(np.float32)
    boxes, scores = random.uniform(size=(2, 4, 4)), random.uniform(size=(2, 4))
    for row, description in enumerate(run.describe(Regions(features, boxes, scores, mask))):
        count = mask[row].sum()
        np.testing.assert_array_equal(description.boxes, boxes[row, :count])
        np.testing.assert_array_equal(description.region_scores, scores[row, :count])
        assert len(description.region_captions) == len(description.region_log_probs) == count
        alone = run.grounder.fits(features[row : row + 1, :count], description.region_captions)
        np.testing.assert_allclose(description.region_fits, alone[0], rtol=1e-4, atol=1e-5)


def test_captions_that_were_written_before_stay_as_they_are(tmp_path):
    attending = {"generate.model": "attention", "generate.regions": False}
    run = make_run(tmp_path / "run", "generate/full_frame", **attending)
    random = np.random.default_rng(0)
    features = random.uniform(size=(2, 4, FEATURE_DIM)).astype(np.float32)
    boxes, ones = random.uniform(size=(2, 4, 4)), np.ones([2, 4], np.float32)
    regions = Regions(features, boxes, ones, np.ones([2, 4], bool))
    captions = ["a dog runs", "red"]
    found = run.describe(regions, captions=captions)
    assert [each.caption for each in found] == captions
    assert all(np.isnan(each.log_prob) for each in found)
    assert [each.attention.shape for each in found] == [(3, 4), (1, 4)]
    for each in found:
        np.testing.assert_allclose(each.attention.sum(axis=1), 1, rtol=1e-5)
    assert [each.attention for each in run.describe(regions, captions=["", ""])] == [None, None]
