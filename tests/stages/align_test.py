"""The alignment stage with several members and with mirror images."""

import numpy as np
import pytest

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.saving import load_model
from visem_tf.runs.trained_run import TrainedRun


@pytest.mark.slow
def test_members_are_joined_into_one_model(train_again):
    changes = {"align.members": 2, "align.epochs": 1, "align.mirror": True}
    run_dir = train_again("features", "align", **changes)
    folder = run_dir / "checkpoints" / "align"
    members = [load_model(folder / f"member-{n}" / "best.keras", AlignmentModel) for n in (1, 2)]
    run = TrainedRun(run_dir)
    joined = run.alignment_model
    token_ids = np.array([[4, 5, 6]], np.int32)
    features = np.random.default_rng(0).normal(
        size=[1, 3, joined.region_encoder.projection.kernel.shape[0]]
    )
    batch = {"region_features": features.astype(np.float32), "token_ids": token_ids}
    found = [np.asarray(model.word_region_similarities(batch)) for model in (joined, *members)]
    np.testing.assert_allclose(found[0], (found[1] + found[2]) / 2, rtol=1e-4, atol=1e-5)
    assert np.abs(found[1] - found[2]).max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"align.members": 2, "align.score": "cosine"}, "align.members averages dot products"),
        ({"align.members": 2, "joint.train": True}, "joint.train has one alignment model"),
        ({"align.mirror": True, "joint.train": True}, "align.mirror changes the regions"),
        ({"generate.mirror": True, "joint.train": True}, "generate.mirror applies to generators"),
    ],
)
def test_options_that_exclude_members_or_mirror_images(changes, message):
    with pytest.raises(UserError, match=message):
        Config().updated(changes)
