"""The section of the configuration that says how the regions of words and phrases are found."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from visem_tf.config.registry import READOUTS
from visem_tf.config.settings import Settings, setting


@dataclass(frozen=True)
class InferConfig(Settings):
    """From aligned words to text snippets (the MRF, section 3.1.4), and to the boxes of phrases."""

    section: ClassVar[str] = "infer"

    beta: float = setting(1.0, at_least=0, at_most=1e6)
    """Reward for two neighbouring words that share a region, in units of their scores with it. With
    0, every word chooses alone; a large value gives one region to every phrase, or to the whole
    sentence if boundary is not 0."""
    function_word_weight: float = setting(0.0, at_least=0, at_most=1)
    """Weight of function words (in, the, is) in the choice of regions. With 1, they count like
    other words (the paper); with 0, they take the region of the word after them."""
    boundary: float = setting(0.0, at_least=0, at_most=1e6)
    """Factor of beta between a word and a function word after it, where a phrase usually ends. 1 is
    the paper; with 0, phrases choose their regions independently of each other."""
    split: bool = True
    """Whether snippets are also divided before function words that follow another word. Joint
    training ignores this."""
    trim: bool = True
    """Whether function words at the ends of snippets are removed, except for determiners (a, the,
    his) at the beginning. Snippets without other words are dropped."""
    noun_share: float = setting(0.15, at_least=0, at_most=1)
    """With trim, snippets end at their last noun, and snippets without a noun are dropped. A noun
    is a word that stands between a determiner, numeral or modifier and the end of a phrase in at
    least this share of its occurrences in the training sentences. With 0, every word except
    function words may end a snippet."""
    min_words: int = setting(1, at_least=1, at_most=1000)
    """Minimum number of words of a snippet; shorter snippets are dropped."""
    keep: float = setting(1.0, above=0, at_most=1)
    """Share of the snippets that are kept: those whose words match their region best."""
    readout: str = setting("phrase", choices=READOUTS)
    """How the box and the point of a phrase are found: word (the region with the largest sum of
    the scores of its words), mrf (the region that the MRF gives to most of its words) or phrase
    (the region with the largest expected overlap, and the highest point of a heat map)."""
    box_scale: float = setting(0.8, at_least=0, at_most=1e6)
    """For phrase: factor of the mean score of a phrase with a region, before the softmax over
    regions that chooses the box."""
    proposer_weight: float = setting(1.0, at_least=0, at_most=1e6)
    """For phrase: weight of the logarithm of the scores of the proposer, if they are probabilities;
    other scores are not used."""
    frame_penalty: float = setting(1.0, at_least=-1e6, at_most=1e6)
    """For phrase: penalty of the whole frame, before the softmax that chooses the box."""
    overlap_penalty: float = setting(1.0, at_least=0, at_most=1e6)
    """For phrase: penalty of a region that is expected to be the box of another phrase of the
    sentence, before the softmax that chooses the box. With 0, every phrase chooses alone."""
    two_regions: bool = True
    """For phrase: whether the box of a phrase that names several things (two dogs) is that around
    two regions."""
    point_scale: float = setting(2.5, at_least=0, at_most=1e6)
    """For phrase: factor of the mean score, before the softmax that makes the heat map. Its highest
    point is the point of the phrase."""
    heat_map: Literal["flat", "peaked"] = "peaked"
    """For phrase: how regions make the heat map: flat (by their scores, evenly in their boxes) or
    peaked (also by the weight and the penalties that choose the box, and most at the centre of
    their boxes)."""
    hubness_scale: float = setting(0.0, at_least=0, at_most=1e6)
    """Scale of the scores from which the hubness of images and sentences is computed, with a bank
    of training data. The hubness of both is subtracted from the score of an image and a sentence,
    but not in training. 0 subtracts nothing, as in the paper. Applies to align.score best_region
    and cosine."""
    unit_phrases: bool = True
    """For phrase: whether the mean score is divided by the length of the mean vector of the words,
    so that all phrases choose equally sharply."""


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
