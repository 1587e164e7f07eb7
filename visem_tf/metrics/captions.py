"""BLEU, METEOR, ROUGE-L, CIDEr and SPICE of captions, by the scorer that the field uses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from visem_tf.metrics.caption_tokens import JavaError, tokenize_for_scoring
from visem_tf.metrics.dense import TextScorer, exact_meteor
from visem_tf.metrics.diversity import caption_diversity
from visem_tf.metrics.evidence import Evidence
from visem_tf.metrics.meteor import Meteor
from visem_tf.metrics.spice import spice_reason, spice_scores

BLEU = ("bleu1", "bleu2", "bleu3", "bleu4")
SCORED = (*BLEU, "meteor", "rouge_l", "cider", "spice")
"""The scores of captions, all in percent."""

_UNKNOWN_WORD = "<unk>"


@dataclass(frozen=True)
class CaptionScores:
    """The scores of one system's captions.

    Attributes:
      scores: `SCORED` in percent, or None where one could not be computed, and the figures of
        `visem_tf.metrics.diversity`.
      notes: why a score is None, or what to know about it, by its name.
      evidence: what the scores rest on, by name, picture by picture in the order of the captions.
    """

    scores: dict[str, float | int | None]
    notes: dict[str, str]
    evidence: dict[str, Evidence]


class CaptionScorer:
    """Scores captions; sentences are tokenized once, and METEOR is started once.

    Args:
      with_meteor: whether METEOR, which takes a Java process and seconds, is wanted.
      with_spice: whether SPICE, which takes minutes, is wanted where its files are.

    Example:
        >>> with CaptionScorer(with_meteor=False) as scorer:
        ...     found = scorer.score({"1": ["A dog."]}, {"copy": {"1": "a dog"}})
        >>> found["copy"].scores["distinct_captions"]
        1
    """

    def __init__(self, *, with_meteor: bool = True, with_spice: bool = True) -> None:
        self._meteor = Meteor() if with_meteor else None
        self._with_spice = with_spice
        self._known: dict[str, str] = {}
        self._note: str | None = None

    def __enter__(self) -> "CaptionScorer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._meteor is not None:
            self._meteor.close()

    def tokens(self, sentences: Sequence[str]) -> list[str]:
        """Tokenizes sentences, those that were not seen before in one call of Java."""
        new = [text for text in dict.fromkeys(sentences) if text not in self._known]
        if new:
            tokenized, self._note = tokenize_for_scoring(new)
            self._known.update(zip(new, tokenized, strict=True))
        return [self._known[sentence] for sentence in sentences]

    def score(
        self,
        references: Mapping[str, Sequence[str]],
        systems: Mapping[str, Mapping[str, str]],
        training_sentences: Iterable[str] | None = None,
        *,
        with_meteor: bool = True,
    ) -> dict[str, CaptionScores]:
        """Scores the captions of several systems; see `caption_scores`.

        Args:
          references: sentences by image id.
          systems: for each system one caption by image id, of the same pictures.
          training_sentences: raw, to tell which captions copy one; None where they are not known.
          with_meteor: whether METEOR and SPICE are wanted of these.

        Raises:
          ValueError: references and captions are not of the same pictures, or there are none.
        """
        for captions in systems.values():
            _check_same_pictures(references, captions)
        never = _word_not_in([sentence for group in references.values() for sentence in group])
        said = {
            name: {i: text.replace(_UNKNOWN_WORD, f" {never} ") for i, text in captions.items()}
            for name, captions in systems.items()
        }
        if _missing_scorer() is None:
            self.tokens([text for group in references.values() for text in group])
            self.tokens([text for captions in said.values() for text in captions.values()])
        known = None if training_sentences is None else list(training_sentences)
        found = {}
        for name, captions in said.items():
            scores: dict[str, float | int | None] = dict.fromkeys(SCORED)
            scores.update(caption_diversity(systems[name], known))
            scored = self._score(references, captions, with_meteor)
            found[name] = CaptionScores({**scores, **scored.scores}, scored.notes, scored.evidence)
        return found

    def text_scorer(self, notes: dict[str, str]) -> TextScorer:
        """METEOR of single tokenized texts, or its substitute without Java, which is noted.

        Args:
          notes: gets why the substitute stood in, when it did.
        """

        def scores(texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
            reason = _missing_scorer() or "METEOR was not asked for"
            if self._meteor is not None and _missing_scorer() is None:
                try:
                    return self._meteor.score(texts, references).single
                except JavaError as error:
                    reason = str(error)
            notes["meteor"] = (
                f"METEOR over equal words alone stood in, figures do not compare: {reason}"
            )
            return exact_meteor(texts, references)

        return scores

    def _score(
        self,
        references: Mapping[str, Sequence[str]],
        captions: Mapping[str, str],
        with_meteor: bool,
    ) -> CaptionScores:
        if reason := _missing_scorer():
            return CaptionScores({}, dict.fromkeys(SCORED, reason), {})
        notes = {"tokenizer": self._note} if self._note else {}
        gold = {i: [text for text in self.tokens(references[i]) if text] for i in captions}
        rows = np.array([bool(gold[i]) for i in captions])
        gold = {i: texts for i, texts in gold.items() if texts}
        if missing := len(captions) - len(gold):
            notes["references"] = f"{missing} pictures left out: no reference of theirs has a word"
        if not gold:
            return CaptionScores({}, dict.fromkeys(SCORED, "no reference has a word"), {})
        said = {i: self.tokens([captions[i]])[0] for i in gold}
        scores, single = _without_java(gold, said)
        if len(gold) == 1:
            notes["cider"] = (
                "CIDEr of a single picture is always 0: its word weights come from the number of "
                "pictures whose references hold a word"
            )
        if with_meteor and self._meteor is not None:
            try:
                meteor = self._meteor.score(list(said.values()), list(gold.values()))
                scores["meteor"] = 100.0 * meteor.corpus
                single["meteor"] = Evidence("meteor", meteor.statistics)
            except JavaError as error:
                notes["meteor"] = str(error)
            self._add_spice(gold, said, scores, single, notes)
        evidence = {}
        for name, figure in single.items():
            parts = np.zeros([len(rows), figure.parts.shape[1]])
            parts[rows] = figure.parts
            evidence[name] = Evidence(figure.kind, parts)
        return CaptionScores(scores, notes, evidence)

    def _add_spice(
        self,
        gold: dict[str, list[str]],
        said: dict[str, str],
        scores: dict[str, float | int | None],
        single: dict[str, Evidence],
        notes: dict[str, str],
    ) -> None:
        """SPICE, where its files are; its absence is a note."""
        reason = spice_reason() if self._with_spice else "SPICE was not asked for"
        if reason:
            notes["spice"] = reason
            return
        try:
            values = spice_scores(said, gold)
        except JavaError as error:
            notes["spice"] = str(error)
            return
        real = np.isfinite(values)
        single["spice"] = Evidence("ratio", np.stack([np.where(real, values, 0), real], axis=1))
        scores["spice"] = 100.0 * float(np.mean(values[real]))


def caption_scores(
    references: Mapping[str, Sequence[str]],
    captions: Mapping[str, str],
    *,
    with_meteor: bool = True,
) -> tuple[dict[str, float | int | None], dict[str, str]]:
    """Scores one caption a picture against the sentences that people wrote for it.

    The scores are those of the COCO caption scorer, pycocoevalcap, on raw sentences split by its
    own PTB tokenizer; scores of a model's own tokens would be other numbers. CIDEr weighs words by
    how many of *these* pictures have them in their references, so figures of different sets of
    pictures do not compare. `<unk>` in a caption matches nothing. A reference without any word is
    left out, and so is a picture without any other.

    Without Java there is neither the PTB tokenizer nor METEOR nor SPICE: a tokenizer in Python
    stands in (`visem_tf.metrics.caption_tokens`) and the other two are None. Without pycocoevalcap
    all scores are.

    Args:
      references: sentences by image_id.
      captions: one caption by image_id, of the same pictures.
      with_meteor: whether METEOR and SPICE, which take Java and time, are wanted.

    Returns:
      The `scores` and the `notes` of `CaptionScores`.

    Raises:
      ValueError: if the two do not hold the same pictures, or there are none.
    """
    with CaptionScorer(with_meteor=with_meteor) as scorer:
        found = scorer.score(references, {"captions": captions})["captions"]
    return found.scores, found.notes


def _missing_scorer() -> str | None:
    try:
        import pycocoevalcap.bleu.bleu
        import pycocoevalcap.cider.cider
        import pycocoevalcap.rouge.rouge  # noqa: F401
    except ImportError as error:
        return f"pycocoevalcap is missing ({error}); pip install 'visem_tf[eval]'"
    return None


def _without_java(
    gold: dict[str, list[str]], said: dict[str, str]
) -> tuple[dict[str, float | int | None], dict[str, Evidence]]:
    """BLEU, ROUGE-L and CIDEr in percent, and what they rest on."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = BleuScorer(n=4)
    for image_id, texts in gold.items():
        scorer += (said[image_id], texts)
    counts = []
    for c in scorer.ctest:
        closest = scorer._single_reflen(c["reflen"], "closest", c["testlen"])
        counts.append([*c["guess"], *c["correct"], c["testlen"], closest])
    parts = np.array(counts, np.float64)
    bleu, _ = scorer.compute_score(option="closest")
    scores: dict[str, float | int | None] = {
        name: 100.0 * float(value) for name, value in zip(BLEU, bleu, strict=True)
    }
    evidence = {name: Evidence(name, parts) for name in BLEU}
    listed = {image_id: [text] for image_id, text in said.items()}
    scorers: list[tuple[str, Any]] = [("rouge_l", Rouge()), ("cider", Cider())]
    for name, other in scorers:
        value, single = other.compute_score(gold, listed)
        scores[name] = 100.0 * float(value)
        evidence[name] = Evidence("ratio", np.stack([single, np.ones(len(single))], axis=1))
    return scores, evidence


def _check_same_pictures(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str]
) -> None:
    if captions and set(references) == set(captions):
        return
    strangers = sorted(set(references) ^ set(captions))[:3]
    raise ValueError(
        f"references and captions must be of the same pictures, got {len(references)} and "
        f"{len(captions)}; in one of them only: {strangers}"
    )


def _word_not_in(sentences: Sequence[str]) -> str:
    """A word that no reference has, nor a form of it."""
    everything, word = " ".join(sentences).lower(), "zqxunknown"
    while word in everything:
        word += "q"
    return word
