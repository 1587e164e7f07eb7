"""Writes sentences that are true of a scene, with the boxes of their noun phrases."""

import dataclasses
import re

import numpy as np

from .templates import TEMPLATES, Pieces, SceneContext
from .visibility import View
from .wording import NounPhrase
from .world import Scene

SENTENCES_PER_IMAGE = 5


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A noun phrase of a sentence.

    Attributes:
        first: Index of the first token; tokens are the maximal runs of letters and digits of the
            lower-cased sentence.
        last: Index of the last token, inclusive.
        text: Tokens, joined by one blank.
        objects: Numbers of the objects that the phrase refers to; several for a counted plural.
        box: Tight box `rel_yxyx` of the visible part of the object, or of all objects of the group.
    """

    first: int
    last: int
    text: str
    objects: tuple[int, ...]
    box: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence with its noun phrases, in order."""

    text: str
    phrases: tuple[Phrase, ...]


def _assemble(pieces: Pieces, view: View) -> Sentence | None:
    """Joins pieces to a sentence and locates its noun phrases; None if a phrase is missing."""
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

    In some scenes of three or more objects, one object is not mentioned in any sentence.

    Args:
        scene: Scene to write about.
        view: Visible parts of its objects.
        rng: Random numbers for the choices.
    """
    context = SceneContext(scene, view, rng)
    templates, weights = zip(*TEMPLATES, strict=True)
    sentences: dict[str, Sentence] = {}
    for _ in range(500):
        pieces = context.choose(templates, weights)(context)
        sentence = None if pieces is None else _assemble(pieces, view)
        if sentence is not None:
            sentences.setdefault(sentence.text, sentence)
        if len(sentences) == SENTENCES_PER_IMAGE:
            return list(sentences.values())
    raise RuntimeError(f"found fewer than {SENTENCES_PER_IMAGE} sentences for {scene}")
