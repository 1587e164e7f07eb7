"""Snippets of a run: the options of the section infer reach the sentences, in every use."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from untrained import WORDS, make_run

from visem_tf.config.inference import PAPER_SNIPPETS
from visem_tf.errors import UserError
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.regions.extractor import Regions
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.snippets import SnippetCutter, require_snippets

pytestmark = pytest.mark.usefixtures("quick")

SENTENCES = ["a dog", "red ball a dog runs", "a", "the", "naïve a red a"]
WHOLE = {
    "infer.beta": 1e3,
    "infer.boundary": 1.0,
    "infer.split": False,
}  # one region for each sentence


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


def texts(run, pairs, training=None, **options):
    """The snippets as texts; `training` are the sentences that show what nouns are."""
    config = run.config.updated({**WHOLE, **{f"infer.{n}": value for n, value in options.items()}})
    _, token_ids, _ = pairs
    grounding = Grounder(run.alignment_model, run.vocabulary, config).ground_split(*pairs)
    training_ids = run.vocabulary.encode(tf.constant(training)) if training else token_ids
    found = SnippetCutter(run.vocabulary, config.infer, training_ids)(grounding, token_ids)
    words, answers = token_ids.to_list(), []
    for sentence, first, last, region, score in zip(*found, strict=True):
        here = slice(first, last + 1)
        assert set(grounding.regions[sentence, here]) == {region}
        assert grounding.scores[sentence, here].mean() == pytest.approx(score, rel=1e-4)
        answers.append(" ".join(WORDS[token] for token in words[sentence][here]))
    return answers


def test_options_are_those_of_the_configuration(run, pairs):
    whole = texts(run, pairs, **PAPER_SNIPPETS)
    assert whole == ["a dog", "red ball a dog runs", "a", "<unk>", "naïve a red a"]
    trimmed = texts(run, pairs, noun_share=0)
    assert trimmed == ["a dog", "red ball a dog runs", "<unk>", "naïve a red"]
    assert texts(run, pairs, noun_share=0, min_words=4) == ["red ball a dog runs"]
    assert len(texts(run, pairs, noun_share=0, keep=0.5)) == 2
    divided = texts(run, pairs, noun_share=0, split=True)
    assert divided == ["a dog", "red ball", "a dog runs", "<unk>", "naïve", "a red"]


def test_snippets_end_at_nouns_that_the_training_sentences_show(run, pairs):
    training = ["a dog", "a dog runs", "a red ball", "a red dog", "a naïve ball"]
    assert texts(run, pairs, training) == ["a dog", "red ball a dog"]
    assert texts(run, pairs, training, noun_share=0.7) == ["red ball"]
    without_evidence = ["dog ball runs", "red ball"]  # as in other languages
    assert texts(run, pairs, without_evidence) == texts(run, pairs, noun_share=0)


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
    settings = run.config.updated({**WHOLE, "infer.min_words": 9}).infer
    grounding = run.grounder.ground_split(*pairs)
    snippets = SnippetCutter(run.vocabulary, settings, pairs[1])(grounding, pairs[1])
    with pytest.raises(UserError, match="no snippets remain of the sentences; lower infer.min_w"):
        require_snippets(snippets)
