"""Paired comparisons of runs, on evidence made by hand."""

import numpy as np
import pytest

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.metrics.resampling import Evidence, median, ratio
from visem_tf.stages.compare_systems import RunEvidence, compare_runs

CONFIG = Config().updated({"evaluate.resamples": 50})
IMAGES = [f"image{n}" for n in range(20)]


def run_evidence(hits, image_ids):
    """Evidence of two figures; the queries of image n have rank n + 1."""
    images = np.arange(len(hits))
    rank = np.array([IMAGES.index(image_id) for image_id in image_ids]) + 1
    evidence: dict[str, Evidence] = {
        "ranking.image_search.r1": ratio(hits, images, len(hits)),
        "ranking.image_search.median_rank": median(rank, images),
        "regions.people.bleu1": ratio(hits, images, len(hits)),
    }
    return RunEvidence(evidence, list(image_ids))


def test_the_order_of_images_makes_no_difference():
    hits = np.random.default_rng(0).integers(0, 2, 20)
    order = np.random.default_rng(1).permutation(20)
    ours = run_evidence(hits, IMAGES)
    theirs = run_evidence(hits[order], [IMAGES[n] for n in order])
    figures = compare_runs(ours, theirs, "other", CONFIG)["figures"]
    assert set(figures) == {"ranking.image_search.r1", "ranking.image_search.median_rank"}
    for found in figures.values():
        assert found["difference"] == 0
        assert found["p"] == 1


def test_a_better_run_wins():
    ours, theirs = run_evidence(np.ones(20), IMAGES), run_evidence(np.zeros(20), IMAGES)
    found = compare_runs(ours, theirs, "other", CONFIG)["figures"]["ranking.image_search.r1"]
    assert found["difference"] == 100
    assert found["p"] < 0.05


def test_runs_on_other_images_or_sentences_are_refused():
    ours = run_evidence(np.ones(20), IMAGES)
    with pytest.raises(UserError, match="other was evaluated on other images"):
        compare_runs(ours, run_evidence(np.ones(19), IMAGES[1:]), "other", CONFIG)
    more = ours.evidence | {"ranking.image_search.r1": Evidence("ratio", np.full([20, 2], 2.0))}
    with pytest.raises(UserError, match="other was evaluated on other sentences"):
        compare_runs(ours, RunEvidence(more, IMAGES), "other", CONFIG)
