"""Phrase grounding, part of the third experiment: boxes and points of phrases, and the proposals.

The alignment is never trained on boxes of phrases; "taught_by" lists the supervision that was used.
"""

from collections.abc import Mapping

import numpy as np

from visem_tf.alignment.phrases import READOUTS
from visem_tf.config import Config
from visem_tf.datasets import PRECOMPUTED
from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.metrics.grounding import (
    Candidates,
    by_type,
    hit_evidence,
    percentages,
    proposal_hits,
    readout_hits,
    reference_hits,
    true_phrases,
    true_things,
)
from visem_tf.regions.extractor import Regions
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.phrase_grounding import PhraseGrounder, PhraseSpans, configured_readout
from visem_tf.stages.experiment import EvaluatedSplit, Experiment, merge

_PROPOSAL_RECALLS = {"proposal_recall": 0.5, "proposal_recall_iou70": 0.7}
_TEACHERS = {
    "retinanet": "images and sentences; boxes with classes of other images for the proposer",
    "trained": "images and sentences; boxes without words for the proposer",
}


def evaluate_grounding(
    data: EvaluatedSplit, grounder: Grounder, phrases: Phrases, regions: Regions
) -> Experiment:
    """Compares the boxes and points of phrases with those of the data set.

    Args:
        data: Split to evaluate on.
        grounder: Grounder of the run.
        phrases: Phrases of the split, with their boxes.
        regions: Regions of all images of the split, as NumPy arrays without features.

    Returns:
        The figure "grounding": of the configured read-out, of every read-out, by type, and of the
        proposals.
    """
    found = merge([_phrases(data, grounder, phrases, regions), _proposals(data, phrases, regions)])
    return found.under("grounding")


def taught_by(config: Config) -> str:
    """Returns the supervision of the alignment and of its regions, in words."""
    if config.dataset_name == PRECOMPUTED:
        return "images and sentences; the regions come from elsewhere"
    return _TEACHERS.get(config.regions.proposer, "images and sentences alone")


def _phrases(
    data: EvaluatedSplit, grounder: Grounder, phrases: Phrases, regions: Regions
) -> Experiment:
    """Evaluates every read-out of the phrases, beside answers that know nothing."""
    truth, images = true_phrases(phrases), len(data.split.image_ids)
    image = data.split.image_index[truth.sentence_index]
    spans = PhraseSpans(truth.sentence_index, image, truth.first, truth.last)
    candidates = Candidates(regions.boxes, regions.region_mask, image)
    overlaps = candidates.overlaps(truth)
    configured = configured_readout(grounder.config)
    places = {
        name: PhraseGrounder(grounder, configured._replace(name=name)).of_split(
            data.cache, data.token_ids, spans
        )
        for name in READOUTS
    }
    hits = {}
    for name, place in places.items():
        points = np.where(place.regions[:, np.newaxis] < 0, np.nan, place.points)
        boxes = np.where(place.several[:, np.newaxis], place.boxes, np.nan)
        hits[name] = readout_hits(truth, overlaps, points, place.ranking, boxes)
    readouts = [_measured(found, image, images).under(name) for name, found in hits.items()]
    pairs_meet = candidates.pairs_meet(truth, places[configured.name].several)
    all_hits = {**hits[configured.name], **reference_hits(truth, overlaps, pairs_meet)}
    types = []
    for name, rows in by_type(truth.types).items():
        of_type = {key: found[rows] for key, found in all_hits.items()}
        figures = {**percentages(of_type), "phrases": int(rows.sum())}
        tested = {key: of_type[key] for key in ("pointing", "r1")}
        evidence = hit_evidence(tested, image[rows], images)
        types.append(Experiment(figures, evidence=evidence).under(name))
    facts = {
        "readout": configured.name,
        "taught_by": taught_by(grounder.config),
        "phrases": len(truth.first),
    }
    return merge(
        [
            Experiment(facts),
            _measured(all_hits, image, images),
            merge(readouts).under("readouts"),
            merge(types).under("by_type"),
        ]
    )


def _measured(hits: Mapping[str, np.ndarray], image: np.ndarray, images: int) -> Experiment:
    """Hits in percent, with their evidence."""
    return Experiment(percentages(hits), evidence=hit_evidence(hits, image, images))


def _proposals(data: EvaluatedSplit, phrases: Phrases, regions: Regions) -> Experiment:
    """Evaluates how many of the things that phrases name the first regions of an image meet."""
    boxes, image = true_things(phrases, data.split.image_index)
    images, count = len(data.split.image_ids), regions.region_mask.shape[1]
    results = [Experiment({"boxes": len(boxes)})]
    for name, min_iou in _PROPOSAL_RECALLS.items():
        found = proposal_hits(regions.boxes, regions.region_mask, boxes, image, min_iou)
        known = {key: hits for key, hits in found.items() if hits is not None}
        figures = {**dict.fromkeys(found), **percentages(known)}
        missing = [key for key in found if key not in known]
        notes = dict.fromkeys(missing, f"the run has {count} regions an image")
        results.append(Experiment(figures, notes, hit_evidence(known, image, images)).under(name))
    return merge(results)
