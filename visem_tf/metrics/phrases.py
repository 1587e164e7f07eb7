"""Phrases whose boxes are known, and what people call the things in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from visem_tf.metrics.regions import PhraseBoxes


@dataclass(frozen=True)
class OneBoxPhrases:
    """P phrases, each with one box; see `PhraseBoxes`."""

    sentence_index: np.ndarray
    first: np.ndarray
    last: np.ndarray
    boxes: np.ndarray


def one_box_a_phrase(phrases: PhraseBoxes) -> OneBoxPhrases:
    """Phrases of several things ("two dogs") with the box around all of them.

    So does the protocol of Flickr30k Entities (Plummer et al., ICCV 2015), whose phrases have a box
    a thing.

    Args:
      phrases: rows of one phrase, of the same words, may lie anywhere.

    Example:
        >>> import types
        >>> two = types.SimpleNamespace(
        ...     sentence_index=np.array([0, 0]), first=np.array([1, 1]), last=np.array([2, 2]),
        ...     boxes=np.array([[0.0, 0.0, 0.5, 0.5], [0.2, 0.4, 0.9, 0.8]]))
        >>> one_box_a_phrase(two).boxes.tolist()
        [[0.0, 0.0, 0.9, 0.8]]
    """
    places = np.stack([phrases.sentence_index, phrases.first, phrases.last], axis=1)
    unique, phrase = np.unique(places, axis=0, return_inverse=True)
    phrase = phrase.reshape(-1)
    boxes = np.asarray(phrases.boxes, np.float64)
    low, high = np.full([len(unique), 2], np.inf), np.full([len(unique), 2], -np.inf)
    np.minimum.at(low, phrase, boxes[:, :2])
    np.maximum.at(high, phrase, boxes[:, 2:])
    sentence_index, first, last = unique.T
    return OneBoxPhrases(sentence_index, first, last, np.concatenate([low, high], axis=1))


def each_against_the_others(
    texts: Mapping[str, Sequence[str]],
) -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """Every text of a thing as a caption whose references are the other texts of the thing.

    What people reach against each other, the paper's "human agreement". Their references are one
    fewer than a model's.

    Args:
      texts: by thing; things with one text are left out.

    Returns:
      References and captions by a key of their own, and the thing of every key.
    """
    references, captions, things = {}, {}, []
    for thing, said in texts.items():
        if len(said) < 2:
            continue
        for n, text in enumerate(said):
            key = f"{thing}/{n}"
            references[key] = [*said[:n], *said[n + 1 :]]
            captions[key] = text
            things.append(thing)
    return references, captions, things
