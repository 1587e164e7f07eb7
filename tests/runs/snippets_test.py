"""Snippets of a run: the options of the section infer reach the sentences, in every use."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from untrained import WORDS, make_run

from visem_tf.config.models import PAPER_SNIPPETS
from visem_tf.errors import UserError
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.regions.extractor import Regions
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.snippets import ground_snippets, training_snippets

SENTENCES = ["a dog", "red ball a dog runs", "a", "the", "naïve a red a"]
WHOLE = {"infer.beta": 1e3, "infer.boundary": 1.0}  # one region for each sentence


class OneBatch(NamedTuple):
    """Stands for the feature cache of a split."""

    regions: Regions

    def gather(self, positions):
        return Regions(*(part[positions] for part in self.regions))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run", "align")


@pytest.fixture(scope="module")
def pairs(run):
    """Regions, words and images of the sentences, as the stages read them."""
    random = np.random.default_rng(0)
    features = random.uniform(size=(2, 4, FEATURE_DIM)).astype(np.float32)
    boxes = random.uniform(size=(2, 4, 4)).astype(np.float32)
    regions = Regions(features, boxes, np.zeros([2, 4], np.float32), np.ones([2, 4], bool))
    image_index = np.array([0, 0, 1, 1, 1])
    return OneBatch(regions), run.vocabulary.encode(tf.constant(SENTENCES)), image_index


def texts(run, pairs, **options):
    changes = {f"infer.{name}": value for name, value in options.items()}
    config = run.config.updated({**WHOLE, **changes})
    grounding, found = ground_snippets(
        Grounder(run.alignment_model, run.vocabulary, config), *pairs
    )
    words = pairs[1].to_list()
    for sentence, first, last, region, score in zip(*found, strict=True):
        here = slice(first, last + 1)
        assert set(grounding.regions[sentence, here]) == {region}
        assert grounding.scores[sentence, here].mean() == pytest.approx(score, rel=1e-4)
    return [
        " ".join(WORDS[token] for token in words[sentence][first : last + 1])
        for sentence, first, last, _, _ in zip(*found, strict=True)
    ]


def test_options_are_those_of_the_configuration(run, pairs):
    whole = texts(run, pairs, **PAPER_SNIPPETS)
    assert whole == ["a dog", "red ball a dog runs", "a", "<unk>", "naïve a red a"]
    trimmed = texts(run, pairs, trim=True)
    assert trimmed == ["a dog", "red ball a dog runs", "<unk>", "naïve a red"]
    assert texts(run, pairs, trim=True, min_words=4) == ["red ball a dog runs"]
    assert len(texts(run, pairs, trim=True, keep=0.5)) == 2


def test_phrases_choose_the_region_of_the_largest_sum_over_their_other_words(run, pairs):
    model, (cache, token_ids, image_index) = run.alignment_model, pairs
    config = run.config.updated({**WHOLE, "infer.boundary": 0.0, "infer.function_word_weight": 0})
    grounder = Grounder(model, run.vocabulary, config)
    found = grounder.ground_split(*pairs).regions
    v = np.asarray(model.encode_regions(cache.regions.region_features))[image_index[1]]
    s = np.asarray(model.encode_sentences(token_ids[1:2].to_tensor()))[0]
    red_ball, a_dog_runs = s[:2].sum(axis=0) @ v.T, s[3:].sum(axis=0) @ v.T
    expected = [red_ball.argmax()] * 2 + [a_dog_runs.argmax()] * 3
    assert found[1, :5].tolist() == expected


def test_training_without_snippets_is_refused(run, pairs):
    config = run.config.updated({**WHOLE, "infer.min_words": 9})
    grounder = Grounder(run.alignment_model, run.vocabulary, config)
    with pytest.raises(UserError, match="no snippet has infer.min_words 9 words; lower it"):
        training_snippets(grounder, *pairs)
