"""A tiny run with everything that goes beyond the paper, as a user runs it."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from visem_tf import evaluate, fit
from visem_tf.decoding.captioner import word_attention
from visem_tf.errors import UserError
from visem_tf.runs.generators import checkpoint
from visem_tf.runs.trained_run import TrainedRun

TINY = (
    "--preset smoke --regions.picture_size 96 --regions.num_regions 4 --align.epochs 2 "
    "--generate.epochs 2 --generate.beam_size 2 --evaluate.beam_size 2 --generate.regions false"
)
BEYOND = (
    "--align.encoder gru --align.score attention --align.loss hinge_max --align.margin 0.2 "
    "--align.hinge_warmup_epochs 1 --generate.model attention --generate.cell gru "
    "--generate.attend_to embeddings --generate.doubly_stochastic 1 --generate.deep_output true "
    "--generate.word_dropout 0.1 --generate.label_smoothing 0.1 --generate.cider_epochs 1 "
    "--generate.cider_samples 2"
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, cache_dir):
    path = tmp_path_factory.mktemp("runs") / "beyond"
    where = ["--run-dir", str(path), "--cache-dir", str(cache_dir)]
    fit.main(
        [*TINY.split(), *BEYOND.split(), *where, "--stages", "features,align,generate,evaluate"]
    )
    return path


@pytest.fixture(scope="module")
def other_run(tmp_path_factory, cache_dir):
    """Of the paper's generator, with another cell."""
    path = tmp_path_factory.mktemp("runs") / "other"
    where = ["--run-dir", str(path), "--cache-dir", str(cache_dir)]
    stages = ["--stages", "features,generate"]
    fit.main([*TINY.split(), "--generate.cell", "lstm", *where, *stages])
    return path


def captions(run_dir):
    results = json.loads((run_dir / "captions_test.json").read_text())
    return [result["caption"] for result in results]


def test_all_of_it_is_trained(run_dir):
    summary = json.loads((run_dir / "state.json").read_text())["stages"]["generate"]["summary"]
    tuned = summary["full_frame_cider"]
    assert tuned["epochs"] == 1
    assert {"reward", "val_cider", "val_cider_before"} <= set(tuned)
    better = tuned["val_cider"] > tuned["val_cider_before"]
    chosen = checkpoint(run_dir, "full_frame")
    assert (chosen.parent.name == "full_frame_cider") == better
    assert chosen.exists()
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert set(metrics["captions"]) >= {"greedy", "beam"}
    assert 0 < metrics["ranking"]["image_search"]["r10"] <= 100


def test_the_generator_that_went_on_with_cider_is_used_if_it_is_kept(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "copy")
    folder = tmp_path / "copy" / "checkpoints" / "generate"
    (folder / "full_frame_cider").mkdir(exist_ok=True)
    (folder / "full_frame_cider" / "best.keras").unlink(missing_ok=True)
    before = TrainedRun(tmp_path / "copy").full_frame_generator.get_weights()
    tuned = TrainedRun(tmp_path / "copy").full_frame_generator
    tuned.output_projection.bias.assign(tuned.output_projection.bias + 1.0)
    tuned.save(folder / "full_frame_cider" / "best.keras")
    after = TrainedRun(tmp_path / "copy").full_frame_generator.get_weights()
    assert sum((a != b).any() for a, b in zip(before, after, strict=True)) == 1


def test_a_finished_run_may_search_otherwise_and_in_company(run_dir, other_run, cache_dir):
    alone = captions(run_dir)
    command = ["--run-dir", str(run_dir), "--cache-dir", str(cache_dir)]
    evaluate.main([*command, "--generate.ensemble", str(other_run)])
    together = captions(run_dir)
    evaluate.main([*command, "--generate.block_ngrams", "1"])
    for caption in captions(run_dir):
        words = caption.split()
        assert len(set(words)) == len(words)
    evaluate.main(command)
    assert captions(run_dir) == alone
    assert together != alone


def test_other_runs_must_fit(run_dir, other_run, cache_dir, tmp_path):
    command = ["--run-dir", str(run_dir), "--cache-dir", str(cache_dir), "--generate.ensemble"]
    with pytest.raises(UserError, match="has no full-frame generator"):
        evaluate.main([*command, str(tmp_path)])
    shutil.copytree(other_run, tmp_path / "words")
    words = (tmp_path / "words" / "vocabulary.txt").read_text()
    (tmp_path / "words" / "vocabulary.txt").write_text(words + "another\n")
    with pytest.raises(UserError, match="has another vocabulary"):
        evaluate.main([*command, str(tmp_path / "words")])
    shutil.copytree(other_run, tmp_path / "features")
    config = json.loads((tmp_path / "features" / "config.json").read_text())
    config["regions"]["crop_size"] = 64
    (tmp_path / "features" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="trained on other features of pictures"):
        evaluate.main([*command, str(tmp_path / "features")])


def test_a_checkpoint_of_another_cell_or_kind_is_refused(other_run):
    run = TrainedRun(other_run)
    for name, value, message in (
        ("cell", "gru", "trained with generate.cell lstm, and cannot be used with gru"),
        ("model", "attention", "holds a CaptionGenerator, not a AttentionGenerator"),
    ):
        config = run.config.updated({f"generate.{name}": value})
        with pytest.raises(UserError, match=message):
            TrainedRun(other_run, config).full_frame_generator  # noqa: B018


def test_descriptions_say_what_every_word_looked_at(run_dir):
    run = TrainedRun(run_dir)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "png")
    regions = run.extractor.extract([encoded.getvalue()])
    features, mask = np.asarray(regions.region_features), np.asarray(regions.region_mask)
    [caption], _ = run._full_frame_captioner.describe_images(features, mask)
    [attention] = word_attention(
        run.full_frame_generator, run.vocabulary, [caption], features, mask
    )
    assert attention.shape == (len(caption.split()), 4)
    np.testing.assert_allclose(attention.sum(axis=1), 1, rtol=1e-5)
    assert not attention[:, ~mask[0]].any()
