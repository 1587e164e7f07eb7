"""The alignment stage with several members and with mirror images."""

from types import SimpleNamespace

import numpy as np
import pytest

from visem_tf.alignment.hubness import Bank
from visem_tf.alignment.scores import alignment_scores
from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.saving import load_model
from visem_tf.runs.opening import open_run
from visem_tf.runs.scoring import Scorer
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.arrays import read_arrays
from visem_tf.stages import align, run_stages
from visem_tf.stages.training import open_pairs


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


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_bank_of_a_run_is_drawn_again_if_it_is_missing(train_again):
    run_dir = train_again("features", "align", **{"align.epochs": 1, "infer.hubness_scale": 0.5})
    run = TrainedRun(run_dir)
    drawn = read_arrays(run.run.bank)
    bank = Bank(**drawn)
    cache, token_ids, _ = open_pairs(open_run(run.config), run.vocabulary)["train"]
    scores = Scorer(run.alignment_model)(cache, token_ids)  # of all images and sentences
    words = bank.words[:, np.newaxis]
    of_words = alignment_scores(bank.regions, words, bank.region_mask).numpy()
    starts = np.flatnonzero(np.diff(bank.sentence, prepend=-1))
    of_bank = np.add.reduceat(of_words, starts, axis=1)
    np.testing.assert_allclose(of_bank, scores, rtol=0.05, atol=0.05)  # rounded in the file
    run.run.bank.unlink()
    for state in (run_dir / "checkpoints" / "align").glob("last*"):
        state.unlink()  # with these, a training would only find that it has ended
    with pytest.raises(UserError, match=r"has no checkpoints/align/bank.npz; run python -m vis"):
        _ = TrainedRun(run_dir).grounder
    trained = (run_dir / "checkpoints" / "align" / "best.keras").read_bytes()
    run_stages(open_run(run.config), progress=lambda line: None)
    for name, array in read_arrays(run.run.bank).items():
        np.testing.assert_array_equal(array, drawn[name])
    assert (run_dir / "checkpoints" / "align" / "best.keras").read_bytes() == trained


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_further_training_removes_the_bank_of_the_former_weights(train_again):
    run_dir = train_again("features", "align", **{"align.epochs": 1, "infer.hubness_scale": 0.5})
    bank = run_dir / "checkpoints" / "align" / "bank.npz"
    assert bank.exists()
    config = TrainedRun(run_dir).config
    changes = {"align.epochs": 2, "infer.hubness_scale": 0, "stages": ("align",)}
    run_stages(open_run(config.updated(changes)), again=("align",), progress=lambda line: None)
    assert not bank.exists()


@pytest.mark.parametrize(
    ("fields", "regions", "message"),
    [
        ({"self_training_epochs": 1}, SimpleNamespace(has_boxes=False), "needs the boxes of regio"),
        ({"finetune_epochs": 1}, SimpleNamespace(has_boxes=True), "trains the CNN on images"),
        ({"self_training_epochs": 1}, None, "has the whole image only; set it to 0"),
    ],
)
def test_what_the_data_lack_is_named_before_the_training(fields, regions, message):
    config = Config().updated(
        {"align": fields, "regions": {"proposer": "none"} if not regions else {}}
    )
    context = SimpleNamespace(
        config=config, data=SimpleNamespace(splits={"train": SimpleNamespace(regions=regions)})
    )
    with pytest.raises(UserError, match=message):
        align.run(context)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"align.members": 2, "align.score": "cosine"}, "align.members averages dot products"),
        ({"align.members": 2, "joint.train": True}, "joint.train has one alignment model"),
        ({"align.mirror": True, "joint.train": True}, "align.mirror changes the regions"),
        ({"generate.mirror": True, "joint.train": True}, "generate.mirror applies to generators"),
        ({"infer.hubness_scale": 1.0, "align.score": "fragments"}, "best_region and cosine, not"),
    ],
)
def test_options_that_exclude_members_or_mirror_images(changes, message):
    with pytest.raises(UserError, match=message):
        Config().updated(changes)
