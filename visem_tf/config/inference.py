"""The section of the configuration that says how the regions of words and phrases are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from visem_tf.config.registry import READOUTS
from visem_tf.config.settings import Settings, setting


@dataclass(frozen=True)
class InferConfig(Settings):
    """From aligned words to text snippets (the MRF, section 3.1.4), and to the boxes of phrases."""

    section: ClassVar[str] = "infer"

    beta: float = setting(1.0, at_least=0, at_most=1e6)
    """What two neighbouring words gain by sharing a region, in units of their score with it: 0
    gives single words, a large value one region to every phrase, or to the whole sentence if
    boundary is not 0."""
    function_word_weight: float = setting(0.0, at_least=0, at_most=1)
    """Weight of function words (in, the, is) in the choice of regions: 1 treats them as other words
    (the paper); with 0 they take the region of the word after them."""
    boundary: float = setting(0.0, at_least=0, at_most=1e6)
    """Factor of beta between a word and a function word after it, where a phrase usually ends; 1
    for the paper, 0 for phrases that choose their regions independently of each other."""
    split: bool = True
    """Whether snippets are also divided before function words that follow another word; joint
    training does not."""
    trim: bool = True
    """Whether snippets lose the function words at their ends, except for determiners (a, the, his)
    at their beginning; snippets without other words are dropped."""
    noun_share: float = setting(0.15, at_least=0, at_most=1)
    """With trim, snippets end at their last noun, and those without one are dropped. Nouns are
    words that stand between a determiner, numeral or modifier and the end of a phrase in at least
    this share of their occurrences in the training sentences; with 0, every word but function words
    may end a snippet."""
    min_words: int = setting(1, at_least=1, at_most=1000)
    """Shorter snippets are dropped."""
    keep: float = setting(1.0, above=0, at_most=1)
    """Share of the snippets that are kept: those whose words fit their region best."""
    readout: str = setting("phrase", choices=READOUTS)
    """How the box and the point of a phrase are found: word (the region with the largest sum of
    its words' scores), mrf (the region that most of its words have) or phrase (the region that is
    expected to overlap most, and the highest point of a heat map)."""
    box_scale: float = setting(0.5, at_least=0, at_most=1e6)
    """For phrase: factor of a phrase's mean score with a region, before the softmax over regions
    that chooses the box."""
    proposer_weight: float = setting(1.0, at_least=0, at_most=1e6)
    """For phrase: weight of the logarithm of the proposer's scores, where they are probabilities;
    the scores of other proposers are not used."""
    frame_penalty: float = setting(1.0, at_least=-1e6, at_most=1e6)
    """For phrase: what the whole frame loses before the softmax that chooses the box."""
    point_scale: float = setting(4.0, at_least=0, at_most=1e6)
    """For phrase: factor of the mean score before the softmax of the heat map, whose highest point
    is the phrase's."""


PAPER_SNIPPETS: dict[str, Any] = {
    "function_word_weight": 1.0,
    "boundary": 1.0,
    "split": False,
    "trim": False,
    "noun_share": 0.0,
    "min_words": 1,
    "keep": 1.0,
}
"""Fields of `InferConfig` with which snippets are those of the paper: all maximal runs of words
with one region."""
