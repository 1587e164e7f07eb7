"""Phrases whose boxes are known, and what people call the things in them."""

from collections.abc import Mapping, Sequence

import numpy as np

from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.metrics.regions import PhraseBoxes, boxes_around


def one_box_a_phrase(phrases: Phrases | PhraseBoxes) -> PhraseBoxes:
    """Gives phrases of several things ("two dogs") the one box around all of them.

    This is the protocol of Flickr30k Entities (Plummer et al., ICCV 2015), which has one box per
    thing.

    Args:
        phrases: Phrases in any order; rows with the same words of a sentence are one phrase.

    Returns:
        Phrases sorted by sentence, first and last token.

    Example:
        >>> two = PhraseBoxes(
        ...     sentence_index=np.array([0, 0]), first=np.array([1, 1]), last=np.array([2, 2]),
        ...     boxes=np.array([[0.0, 0.0, 0.5, 0.5], [0.2, 0.4, 0.9, 0.8]]))
        >>> one_box_a_phrase(two).boxes.tolist()
        [[0.0, 0.0, 0.9, 0.8]]
    """
    places = np.stack([phrases.sentence_index, phrases.first, phrases.last], axis=1)
    unique, phrase = np.unique(places, axis=0, return_inverse=True)
    boxes = boxes_around(np.asarray(phrases.boxes, np.float64), phrase.reshape(-1), len(unique))
    sentence_index, first, last = unique.T
    return PhraseBoxes(sentence_index, first, last, boxes)


def each_against_the_others(
    texts: Mapping[str, Sequence[str]],
) -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """Makes every text of a thing a caption whose references are the other texts of the thing.

    Its score is the paper's "human agreement". It has one reference fewer than the score of a
    model.

    Args:
        texts: Texts by thing; things with a single text are left out.

    Returns:
        references: References by a key of their own.
        captions: Captions by the same keys.
        things: The thing of every key.
    """
    references, captions, things = {}, {}, []
    for thing, said in texts.items():
        for n, text in enumerate(said if len(said) > 1 else []):
            key = f"{thing}/{n}"
            references[key] = [*said[:n], *said[n + 1 :]]
            captions[key] = text
            things.append(thing)
    return references, captions, things
