"""Phrases in their images: every caller finds the same boxes and points."""

import numpy as np
import pytest
import tensorflow as tf
from untrained import make_run

from visem_tf.alignment.phrases import PhraseGrounding, Readout
from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.metrics.regions import box_iou
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.regions.extractor import Regions
from visem_tf.runs.phrase_grounding import (
    PhraseGrounder,
    PhraseSpans,
    configured_readout,
    ground_sentences,
)

pytestmark = pytest.mark.usefixtures("quick")

SENTENCES = ["a red dog runs", "the ball", "a dog and a red ball"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), "align", **{"text.max_words": 7})


@pytest.fixture
def regions():
    random = np.random.default_rng(6)
    low = random.uniform(0, 0.6, [3, 5, 2])
    boxes = np.concatenate([low, low + random.uniform(0.1, 0.4, [3, 5, 2])], axis=2)
    boxes[:, 0] = [0, 0, 1, 1]
    return Regions(
        random.uniform(0, 3, [3, 5, FEATURE_DIM]).astype(np.float32),
        boxes.astype(np.float32),
        random.uniform(0.01, 0.9, [3, 5]).astype(np.float32),
        np.arange(5) < np.array([[5], [3], [4]]),
    )


class OneBatch:
    """Stands for the feature cache of a split."""

    def __init__(self, regions):
        self.regions = regions

    def gather(self, positions):
        return Regions(*(part[positions] for part in self.regions))


def token_ids(run):
    ids = [run.grounder.read(sentence).token_ids.tolist() for sentence in SENTENCES]
    return tf.ragged.constant(ids, tf.int32)


@pytest.mark.parametrize(
    ("unit", "penalty"), [(False, 0.0), (True, 0.0), (False, 3.0), (True, 3.0)]
)
def test_regions_are_ranked_as_the_definition_says(run, regions, unit, penalty):
    model = run.alignment_model
    readout = Readout("phrase", box_scale=7.0, unit_phrases=unit, overlap_penalty=penalty)
    grounder = PhraseGrounder(run.grounder, readout)
    embeddings = run.grounder.embed(regions.region_features)
    spans = PhraseSpans(*np.array([[0, 2, 1, 2], [2, 0, 3, 5], [0, 1, 0, 0], [2, 1, 0, 1]]).T)
    found = grounder(embeddings, regions, token_ids(run), spans)
    counted = [[1, 2], [4, 5], [0], [1]]  # without "a" and "and", but for the phrase "a"
    others = [[], [[1]], [[1, 2, 3]], [[4, 5]]]  # "runs" belongs to "red dog runs"
    for row, (sentence, image, _, _) in enumerate(zip(*spans, strict=True)):
        ids = run.grounder.read(SENTENCES[sentence]).token_ids
        words = np.asarray(model.encode_sentences(ids[np.newaxis]))[0]
        mask = regions.region_mask[image]
        boxes = regions.boxes[image][mask]

        def overlaps(positions, loss=0.0, of=(words, embeddings[image][mask], boxes)):
            """The expected overlaps of regions with some words, and the similarities."""
            words, vectors, boxes = of
            phrase = words[positions].mean(axis=0)
            means = vectors @ phrase
            logits = 7.0 * (means / np.linalg.norm(phrase) if unit else means) - loss
            shares = np.exp(logits - logits.max())
            return (shares / shares.sum()) @ box_iou(boxes[:, np.newaxis], boxes), means

        loss = penalty * np.max([overlaps(other)[0] for other in others[row]] or [0.0], axis=0)
        expected, means = overlaps(counted[row], loss)
        np.testing.assert_allclose(found.ranking[row][mask], expected, rtol=1e-3)
        assert found.scores[row] == pytest.approx(means[found.regions[row]], rel=1e-4)


def test_a_split_and_images_in_memory_give_the_same(run, regions, monkeypatch):
    monkeypatch.setattr("visem_tf.runs.phrase_grounding.PHRASES_AT_A_TIME", 2)
    grounder = PhraseGrounder(run.grounder)
    spans = PhraseSpans(
        *np.array([[0, 0, 1, 2], [0, 0, 3, 3], [1, 1, 1, 1], [2, 2, 4, 5], [2, 2, 0, 1]]).T
    )
    embeddings = run.grounder.embed(regions.region_features)
    whole = grounder(embeddings, regions, token_ids(run), spans)
    split = grounder.of_split(OneBatch(regions), token_ids(run), spans)
    assert len(whole.boxes) == 5
    for a, b in zip(whole, split, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_no_phrases_give_empty_arrays(run, regions):
    embeddings = run.grounder.embed(regions.region_features)
    none = PhraseSpans(*np.zeros([4, 0], np.int32))
    found = PhraseGrounder(run.grounder)(embeddings, regions, token_ids(run), none)
    assert [part.shape for part in found] == [(0, 4), (0, 2), (0,), (0,), (0, 5), (0,)]


@pytest.mark.parametrize("readout", ["phrase", "mrf", "word"])
def test_segments_and_phrases_of_sentences_in_json(run, regions, readout):
    settings = configured_readout(run.config)._replace(name=readout)
    grounder = PhraseGrounder(run.grounder, settings)
    phrases = [["Red dog", "a"], [], ["a red ball!"]]
    queries = [run.grounder.read(*each) for each in zip(SENTENCES, phrases, strict=True)]
    found = ground_sentences(grounder, queries, [0, 0, 2], regions)
    assert [[p["text"] for p in each["phrases"]] for each in found] == [
        ["red dog", "a"],
        [],
        ["a red ball"],
    ]
    assert [(p["first"], p["last"]) for p in found[2]["phrases"]] == [(3, 5)]
    words = grounder.grounder.ground(
        run.grounder.embed(regions.region_features)[[0, 0, 2]],
        regions.region_mask[[0, 0, 2]],
        regions.boxes[[0, 0, 2]],
        queries,
    )
    for row, (each, query) in enumerate(zip(found, queries, strict=True)):
        assert [w["word"] for w in each["words"]] == query.words
        chosen = words.regions[row, : len(query.words)].tolist()
        assert [w["region"] for w in each["words"]] == chosen
        assert " ".join(s["text"] for s in each["segments"]) == " ".join(query.words)
        for part in (*each["segments"], *each["phrases"]):
            image = [0, 0, 2][row]
            np.testing.assert_allclose(part["box"], regions.boxes[image, part["region"]], atol=1e-4)
            assert len(part["point"]) == 2
            assert all(0 <= edge <= 1 for edge in part["point"])
        if readout == "mrf":
            for segment in each["segments"]:
                assert segment["region"] == chosen[segment["first"]]
    # One sentence alone gives the same.
    [alone] = ground_sentences(grounder, queries[2:], [2], regions)
    assert alone == found[2]
    if readout == "phrase":  # as configured
        assert ground_sentences(run.phrase_grounder, queries, [0, 0, 2], regions) == found
    [plain] = ground_sentences(grounder, [run.grounder.read(SENTENCES[2])], [2], regions)
    assert "phrases" not in plain


def test_a_phrase_that_its_sentence_lacks_is_an_error(run):
    read = run.grounder.read
    with pytest.raises(UserError, match="the phrase 'blue dog' is not a part of the sentence"):
        read(SENTENCES[0], ["blue dog"])
    with pytest.raises(UserError, match="only its first 7 words are read"):
        read("a red dog runs and runs and runs to a ball", ["a ball"])
    with pytest.raises(UserError, match="the phrase '!' is not a part"):
        read(SENTENCES[0], ["!"])


def test_scores_of_a_proposer_are_used_only_where_they_are_probabilities():
    config = Config().updated({"infer.proposer_weight": 2.0})
    weights = {
        (dataset, proposer): configured_readout(
            config.updated({"dataset": dataset, "regions.proposer": proposer})
        ).proposer_weight
        for dataset in ("scenes/smoke", "precomputed")
        for proposer in ("windows", "grid", "retinanet")
    }
    assert weights == {**dict.fromkeys(weights, 0.0), ("scenes/smoke", "retinanet"): 2.0}


def test_places_are_named_tuples_of_arrays(run, regions):
    embeddings = run.grounder.embed(regions.region_features)
    spans = PhraseSpans(*np.array([[0, 0, 0, 1]]).T)
    found = run.phrase_grounder(embeddings, regions, token_ids(run), spans)
    assert isinstance(found, PhraseGrounding)
    assert all(isinstance(part, np.ndarray) for part in found)
