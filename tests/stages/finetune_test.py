"""The CNN trained with the alignment, from a chosen block on, and its use afterwards."""

import json

import numpy as np
import pytest
import tensorflow as tf
from small_cnn import small_cnn

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.saving import load_model
from visem_tf.regions.backbone import TrainableCNN, load_backbone
from visem_tf.regions.dataset_cache import file_digest
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.stages import finetune

FINETUNE = {
    "align.epochs": 1,
    "align.finetune_epochs": 1,
    "align.finetune_from": 8,
    "align.finetune_learning_rate": 1e-3,
    "align.finetune_batch_size": 10,
    "generate.epochs": 1,
    "generate.regions": False,
}


@pytest.fixture(scope="module")
def run_dir(train_again):
    """A run whose trained CNN replaces the pretrained one, whether it ranks better or not."""
    before = finetune.recalls
    finetune.recalls = lambda *arguments: {"recall_sum": next(growing)}
    growing = iter(range(100))
    try:
        with small_cnn():
            return train_again("align", "generate", "evaluate", **FINETUNE)
    finally:
        finetune.recalls = before


@pytest.mark.slow
def test_later_stages_use_the_trained_cnn(run_dir):
    run = TrainedRun(run_dir)
    with small_cnn():
        tuned, started = run.extractor.cnn, run.extractor.backbone
    assert run.run.tuned_cnn == run_dir / "checkpoints" / "finetune" / "cnn.npz"
    assert run.run.alignment_model.parent.name == "finetune"
    pixels = tf.random.stateless_uniform([1, 64, 64, 3], [1, 2], 0, 255)
    assert np.abs(tuned.features(pixels) - started.features(pixels)).max() > 1e-2
    summary = json.loads((run_dir / "state.json").read_text())["stages"]["align"]["summary"]
    assert summary["finetune"]["recall_sum"] > summary["finetune"]["recall_sum_before"]
    keys = (run_dir.parent / "cache" / "features").glob("*-train-*/key.json")
    found = [json.loads(path.read_text(encoding="utf-8")).get("tuned") for path in keys]
    assert {None, file_digest(run.run.tuned_cnn)} == set(found)  # pretrained and trained CNN
    assert (run_dir / "metrics.json").exists()


def test_only_the_chosen_blocks_change(tmp_path):
    backbone = load_backbone("efficientnet_lite0")
    pixels = tf.random.stateless_uniform([2, 64, 64, 3], [1, 2], 0, 255)
    frozen = backbone.features(pixels).numpy()
    cnn = TrainableCNN(backbone, from_block=7)
    assert {variable.path.split("/")[0] for variable in cnn.trainable_variables} == {
        "block7a_expand_conv",
        "block7a_dwconv",
        "block7a_project_conv",
        "top_conv",
    }
    np.testing.assert_allclose(cnn.features(pixels), frozen, atol=1e-3)
    for variable in cnn.trainable_variables:
        variable.assign(variable * 1.1)
    changed = cnn.features(pixels).numpy()
    assert np.abs(changed - frozen).max() > 0.1
    np.testing.assert_array_equal(backbone.features(pixels), frozen)  # which the proposer uses
    cnn.write(tmp_path / "cnn.npz")
    loaded = load_backbone("efficientnet_lite0", tmp_path / "cnn.npz")
    np.testing.assert_allclose(loaded.features(pixels), changed, atol=1e-3)
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "other.npz", kernel=np.zeros(3))
    for name in ("bad.npz", "other.npz"):
        with pytest.raises(UserError, match="has no weights of the CNN efficientnet_lite0"):
            load_backbone("efficientnet_lite0", tmp_path / name)


def test_blocks_before_the_middle_map_are_shared(tmp_path):
    backbone = load_backbone("efficientnet_lite0")
    pixels = tf.random.stateless_uniform([2, 64, 64, 3], [1, 2], 0, 255)
    for from_block, shared in ((5, False), (6, True)):
        cnn = TrainableCNN(backbone, from_block)
        for variable in cnn.trainable_variables:
            variable.assign(variable * 1.05)
        cnn.write(tmp_path / f"{from_block}.npz")
        loaded = load_backbone("efficientnet_lite0", tmp_path / f"{from_block}.npz")
        assert (loaded.trunk is backbone) is shared
        expected = cnn.network((pixels - 127) / 128, training=False)
        for network in (cnn, loaded):
            maps = network.maps(pixels)
            np.testing.assert_allclose(maps.last, expected, atol=1e-3)
            is_frozen = np.allclose(maps.middle, backbone.maps(pixels).middle, atol=1e-3)
            assert is_frozen is shared


def test_members_stay_apart_and_take_some_sentences_of_every_image(train_again):
    """Two members are tuned as one model: the zeros between them stay zeros."""
    growing = iter(range(100))
    with pytest.MonkeyPatch.context() as patch, small_cnn():
        patch.setattr(finetune, "recalls", lambda *arguments: {"recall_sum": next(growing)})
        options = {"align.members": 2, "align.finetune_sentences": 3, "align.mirror": True}
        path = train_again("align", **{**FINETUNE, **options})
    joined, tuned = (
        load_model(path / "checkpoints" / name / "best.keras", AlignmentModel)
        for name in ("align", "finetune")
    )
    kernels = [np.asarray(model.sentence_encoder.forward_kernel) for model in (joined, tuned)]
    half = len(kernels[0]) // 2
    assert not kernels[1][:half, half:].any() and not kernels[1][half:, :half].any()
    assert (kernels[0][:half, :half] != kernels[1][:half, :half]).mean() > 0.9


def test_joint_training_excludes_a_trained_cnn():
    with pytest.raises(UserError, match="finetune_epochs changes the region features"):
        Config().updated({**FINETUNE, "joint.train": True, "align.word_dim": 256})
