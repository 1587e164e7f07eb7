"""Sentences that are true of a scene, with the boxes that their noun phrases speak of."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from .templates import TEMPLATES, Pieces, Speaker
from .visibility import View
from .wording import NounPhrase
from .world import Scene

SENTENCES_PER_PICTURE = 5


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A noun phrase in its sentence.

    Attributes:
        first: index of its first token; tokens are the maximal runs of letters and digits of the
            lower-cased sentence.
        last: index of its last token (inclusive).
        text: its tokens, joined by one blank.
        objects: numbers of the objects it speaks of; several for a counted plural.
        box: `rel_yxyx`, tight around what is seen of the object, or of all objects of the group.
    """

    first: int
    last: int
    text: str
    objects: tuple[int, ...]
    box: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence and its noun phrases, in order."""

    text: str
    phrases: tuple[Phrase, ...]


def _assemble(pieces: Pieces, view: View) -> Sentence | None:
    """Joins the pieces and finds the tokens of the noun phrases; None if a phrase is lacking."""
    text, phrases, tokens = "", [], 0
    for piece in pieces:
        if piece is None:
            return None
        words = piece if isinstance(piece, str) else " ".join(piece.words)
        text += words if words == "," or not text else f" {words}"
        count = len(re.findall(r"[^\W_]+", words))
        if isinstance(piece, NounPhrase):
            boxes = view.boxes[list(piece.objects)]
            box = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
            phrases.append(Phrase(tokens, tokens + count - 1, words, piece.objects, box))
        tokens += count
    return Sentence(f"{text[0].upper()}{text[1:]}.", tuple(phrases))


def write_sentences(scene: Scene, view: View, rng: np.random.Generator) -> list[Sentence]:
    """Writes five different sentences about a scene.

    In scenes of three or more objects one object is at times left out of all of them.

    Args:
        scene: the scene.
        view: what is seen of it.
        rng: source of the choices.

    Returns:
        Five sentences, all true.
    """
    speaker = Speaker(scene, view, rng)
    templates, weights = zip(*TEMPLATES, strict=True)
    sentences: dict[str, Sentence] = {}
    for _ in range(500):
        pieces = speaker.choose(templates, weights)(speaker)
        sentence = None if pieces is None else _assemble(pieces, view)
        if sentence is not None:
            sentences.setdefault(sentence.text, sentence)
        if len(sentences) == SENTENCES_PER_PICTURE:
            return list(sentences.values())
    raise RuntimeError(f"not enough to say about {scene}")
