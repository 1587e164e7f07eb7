"""A run whose alignment and generators are one model."""

import json

import numpy as np
import pytest

from visem_tf import fit
from visem_tf.errors import UserError
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.stages import joint

TINY = (
    "--preset smoke --regions.picture_size 96 --regions.num_regions 4 --align.epochs 3 "
    "--generate.beam_size 2 --evaluate.beam_size 2 --generate.model attention "
    "--generate.cell lstm --joint.train true --joint.reinfer_every 1 --generate.word_dim 32"
)


JOINT = {
    "joint.train": True,
    "joint.reinfer_every": 1,
    "align.epochs": 3,
    "align.learning_rate": 2e-2,
    "generate.model": "attention",
    "generate.cell": "lstm",
}


@pytest.fixture(scope="module")
def run_dir(train_again):
    inferred = []
    before = joint.Grounder.ground_split

    def ground_split(self, *arguments, **options):
        inferred.append(before(self, *arguments, **options))
        return inferred[-1]

    joint.Grounder.ground_split = ground_split
    try:
        path = train_again("align", "infer", "generate", "evaluate", **JOINT)
    finally:
        joint.Grounder.ground_split = before
    assert len(inferred) >= 2  # before the second epoch and the third
    assert (inferred[0].regions != inferred[1].regions).any()
    return path


@pytest.mark.slow
def test_all_parts_are_saved_and_share_layers(run_dir):
    run = TrainedRun(run_dir)
    alignment, generators = run.alignment_model, (run.full_frame_generator, run.region_generator)
    for generator in generators:
        np.testing.assert_array_equal(
            generator.word_vectors.embeddings, alignment.sentence_encoder.word_vectors.embeddings
        )
        np.testing.assert_array_equal(
            generator.region_encoder.projection.kernel, alignment.region_encoder.projection.kernel
        )
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert {"greedy", "beam"} <= set(metrics["captions"])
    history = json.loads((run_dir / "checkpoints" / "align" / "progress.json").read_text())[
        "history"
    ]
    assert {"recall_sum", "val_perplexity", "perplexity_full_frame"} <= set(history[0])
    assert history[-1]["val_perplexity"] < history[0]["val_perplexity"]
    assert history[0]["perplexity_regions"] == 1.0 < history[1]["perplexity_regions"]
    assert (run_dir / "alignments.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--generate.word_dim 64", "one set of word vectors, so that align.word_dim 32 and"),
        ("--generate.full_frame false --generate.model mrnn --joint.monitor val_perplexity", "is"),
        (
            "--generate.full_frame false --generate.regions false --generate.model mrnn",
            "trains generators with the alignment",
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        fit.main([*TINY.split(), *options.split(), "--run-dir", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()
