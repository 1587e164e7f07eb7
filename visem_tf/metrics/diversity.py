"""How varied captions are: BLEU flatters a model that says the same of every picture."""

import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np

_NOT_IN_WORDS = re.compile(r"[^\w\s]|_")


def caption_diversity(
    captions: Mapping[str, str], training_sentences: Iterable[str] | None = None
) -> dict[str, float | int | None]:
    """Figures that stand beside the scores of captions.

    Words are compared in lower case and without punctuation, as the models see them: "don't" is
    "dont".

    Args:
      captions: one by image id.
      training_sentences: raw; None where they are not known.

    Returns:
      `distinct_captions`; `vocabulary_used`, different words in all captions; `mean_length`, in
      words; `copied`, the percentage of captions that are word by word a training sentence (None
      without `training_sentences`).

    Example:
        >>> figures = caption_diversity({"1": "a dog", "2": "a cat"}, ["A dog.", "Two dogs."])
        >>> figures["distinct_captions"], figures["vocabulary_used"], figures["copied"]
        (2, 3, 50.0)
    """
    said = [_words(caption) for caption in captions.values()]
    copied = None
    if training_sentences is not None:
        known = {_words(sentence) for sentence in training_sentences}
        copied = _percent(said, known)
    return {
        "distinct_captions": len(set(said)),
        "vocabulary_used": len({word for caption in said for word in caption}),
        "mean_length": float(np.mean([len(caption) for caption in said])),
        "copied": copied,
    }


def _words(sentence: str) -> tuple[str, ...]:
    return tuple(_NOT_IN_WORDS.sub("", sentence.lower()).split())


def _percent(said: list[tuple[str, ...]], known: Collection[tuple[str, ...]]) -> float:
    return 100.0 * float(np.mean([caption in known for caption in said]))
