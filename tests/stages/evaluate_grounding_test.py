"""Phrase grounding as an experiment, of an untrained model, against each phrase by itself."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from untrained import make_run

from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.metrics.regions import box_iou
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.regions.extractor import Regions
from visem_tf.runs.phrase_grounding import ground_sentences
from visem_tf.stages.evaluate_grounding import evaluate_grounding, taught_by

pytestmark = pytest.mark.usefixtures("quick")

SENTENCES = ["a red dog runs", "a dog and a red ball", "the ball"]
IMAGES = np.array([0, 1, 1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), "align", **{"text.max_words": 5})


class Cache:
    """Stands for the feature cache of a split."""

    def __init__(self, regions):
        self.regions = regions

    def gather(self, positions):
        return Regions(*(part[positions] for part in self.regions))


@pytest.fixture
def regions():
    random = np.random.default_rng(8)
    low = random.uniform(0, 0.5, [2, 12, 2])
    boxes = np.concatenate([low, low + random.uniform(0.2, 0.5, [2, 12, 2])], axis=2)
    boxes[:, 0] = [0, 0, 1, 1]
    features = random.uniform(0, 3, [2, 12, FEATURE_DIM]).astype(np.float32)
    mask = np.arange(12) < np.array([[12], [9]])
    return Regions(features, boxes.astype(np.float32), np.zeros([2, 12], np.float32), mask)


def test_the_figures_are_those_of_each_phrase(run, regions):
    boxes = regions.boxes[[0, 0, 0, 1, 1], [3, 4, 7, 2, 5]] * 0.98
    phrases = Phrases(
        sentence_index=np.array([0, 0, 0, 1, 1]),
        first=np.array([0, 0, 3, 0, 4]),
        last=np.array([2, 2, 3, 1, 5]),  # the last word of the last phrase is cut off
        boxes=boxes.astype(np.float32),
        object=np.array([0, 1, 2, 0, 1]),
        text=["a red dog", "a red dog", "runs", "a dog", "red ball"],
        type=["animals", "animals", "", "animals", "other/scene"],
    )
    queries = [run.grounder.read(sentence) for sentence in SENTENCES]
    data = SimpleNamespace(
        split=SimpleNamespace(image_ids=["a", "b"], image_index=IMAGES),
        cache=Cache(regions),
        token_ids=tf.ragged.constant([q.token_ids.tolist() for q in queries], tf.int32),
    )
    found = evaluate_grounding(data, run.grounder, phrases, regions)
    figures = found.figures["grounding"]
    assert figures["phrases"] == 4
    assert figures["boxes"] == 5
    assert figures["readout"] == "phrase"
    assert figures["taught_by"] == "images and sentences alone"
    asked = [["a red dog", "runs"], ["a dog", "red"], []]
    queries = [run.grounder.read(*each) for each in zip(SENTENCES, asked, strict=True)]
    places = ground_sentences(run.phrase_grounder, queries, IMAGES, regions)
    places = [place for each in places for place in each["phrases"]]
    own = [boxes[:2], boxes[2:3], boxes[3:4], boxes[4:]]
    pointing, r1 = [], []
    for place, each in zip(places, own, strict=True):
        y, x = place["point"]
        pointing.append(any(b[0] <= y <= b[2] and b[1] <= x <= b[3] for b in each))
        around = np.array([*each[:, :2].min(axis=0), *each[:, 2:].max(axis=0)])
        r1.append(box_iou(np.array(place["box"]), around) >= 0.5)
    assert figures["pointing"] == pytest.approx(100 * np.mean(pointing))
    assert figures["r1"] == pytest.approx(100 * np.mean(r1))
    assert figures["readouts"]["phrase"]["r1"] == figures["r1"]
    assert set(figures["readouts"]) == {"word", "mrf", "phrase"}
    assert figures["ceiling"] >= figures["r10"] >= figures["r5"] >= figures["r1"]
    assert {name: each["phrases"] for name, each in figures["by_type"].items()} == {
        "animals": 2,
        "other": 1,
        "scene": 1,
    }
    assert figures["proposal_recall"] == {"10": 100.0, "20": None, "50": None}
    assert found.notes["grounding.proposal_recall.20"] == "the run has 12 regions an image"
    for name, evidence in found.evidence.items():
        value = found.figures
        for part in name.split("."):
            value = value[part]
        assert evidence.values(np.ones([1, 2]))[0] == pytest.approx(value), name


def test_figures_say_what_the_regions_were_taught_by(run):
    config = run.config
    assert taught_by(config) == "images and sentences alone"
    assert "elsewhere" in taught_by(config.updated({"dataset": "precomputed"}))
    learned = taught_by(config.updated({"regions.proposer": "retinanet"}))
    assert learned.startswith("images and sentences; boxes with classes")
