"""Scores of captions: BLEU, METEOR, ROUGE-L, CIDEr and SPICE by pycocoevalcap, and others."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from visem_tf.metrics.java import JavaError, java_reason, ptb_tokenize
from visem_tf.metrics.meteor import Meteor
from visem_tf.metrics.resampling import Evidence
from visem_tf.metrics.spice import spice_scores
from visem_tf.text import DETERMINERS, FUNCTION_WORDS

BLEU = ("bleu1", "bleu2", "bleu3", "bleu4")
SCORED = (*BLEU, "meteor", "rouge_l", "cider", "spice")
"""Names of the scores of captions, all of them in percent."""

_UNKNOWN_WORD = "<unk>"
_NOT_IN_WORDS = re.compile(r"[^\w\s]|_")
_NEED_A_NOUN = DETERMINERS | {
    *("and", "or", "while", "is", "are"),
    *("at", "from", "in", "into", "of", "on", "to", "with"),
}

Scores = dict[str, float | int | None]


@dataclass(frozen=True)
class CaptionScores:
    """Scores of the captions of one system.

    Attributes:
        scores: `SCORED` in percent, None for those that could not be computed, and the measures
            of `caption_style`.
        notes: Why a score is None, or what to know about it, by its name.
        evidence: Per-image evidence of the scores by name, in the order of the captions.
    """

    scores: Scores
    notes: dict[str, str]
    evidence: dict[str, Evidence]


class CaptionScorer:
    """Scores captions. Each sentence is tokenized once, and METEOR is started once.

    The scores are those of the COCO caption scorer, pycocoevalcap, on raw sentences that its PTB
    tokenizer splits. CIDEr weighs words by the number of images whose references have them, so
    that its values for different sets of images do not compare. `<unk>` in a caption matches
    nothing. References without words are left out, and so are images without other references.

    Without pycocoevalcap or without Java, all scores are None, with the reason in the notes.

    Example:
        >>> with CaptionScorer() as scorer:
        ...     found = scorer.score({"1": ["A dog."]}, {"copy": {"1": "a dog"}}, with_meteor=False)
        >>> found["copy"].scores["distinct_captions"]
        1
    """

    def __init__(self) -> None:
        self._meteor = Meteor()
        self._tokenized: dict[str, str] = {}

    def __enter__(self) -> "CaptionScorer":
        return self

    def __exit__(self, *error: object) -> None:
        self._meteor.close()

    def score(
        self,
        references: Mapping[str, Sequence[str]],
        systems: Mapping[str, Mapping[str, str]],
        training_sentences: Iterable[str] | None = None,
        *,
        with_meteor: bool = True,
    ) -> dict[str, CaptionScores]:
        """Scores the captions of several systems.

        Args:
            references: Sentences by image id.
            systems: One caption by image id for each system, of the same images.
            training_sentences: Raw sentences, to find captions that copy one; None if unknown.
            with_meteor: Whether to compute METEOR and SPICE, which take time.

        Raises:
            ValueError: If references and captions are not of the same images, or there are none.
        """
        for captions in systems.values():
            _check_same_images(references, captions)
        texts = [text for group in references.values() for text in group]
        unknown = _word_not_in(texts)
        said = {
            name: {i: text.replace(_UNKNOWN_WORD, f" {unknown} ") for i, text in captions.items()}
            for name, captions in systems.items()
        }
        reason = ""
        try:
            self._tokenize([*texts, *(t for captions in said.values() for t in captions.values())])
        except JavaError as error:
            reason = str(error)
        known = None if training_sentences is None else list(training_sentences)
        found = {}
        for name, captions in systems.items():
            scored = CaptionScores({}, dict.fromkeys(SCORED, reason), {})
            if not reason:
                scored = self._score(references, said[name], with_meteor)
            style = caption_style(captions, known)
            scores = {**dict.fromkeys(SCORED), **style, **scored.scores}
            found[name] = CaptionScores(scores, scored.notes, scored.evidence)
        return found

    def meteor(self, captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """Computes METEOR of single texts.

        Args:
            captions: N texts.
            references: N lists of at least one text.

        Returns:
            Float array [N], 0 to 1.

        Raises:
            JavaError: If pycocoevalcap or Java is missing, or fails.
        """
        self._tokenize([*captions, *(text for group in references for text in group)])
        gold = [[self._tokenized[text] for text in group] for group in references]
        return self._meteor.score([self._tokenized[text] for text in captions], gold).single

    def _tokenize(self, texts: Iterable[str]) -> None:
        """Tokenizes new texts in one call of Java."""
        new = [text for text in dict.fromkeys(texts) if text not in self._tokenized]
        if new:
            if reason := _missing():
                raise JavaError(reason)
            self._tokenized.update(zip(new, ptb_tokenize(new), strict=True))

    def _score(
        self,
        references: Mapping[str, Sequence[str]],
        captions: Mapping[str, str],
        with_meteor: bool,
    ) -> CaptionScores:
        tokenized = {i: [self._tokenized[text] for text in references[i]] for i in captions}
        gold = {i: list(filter(None, texts)) for i, texts in tokenized.items() if any(texts)}
        said = {i: self._tokenized[captions[i]] for i in gold}
        if not gold:
            return CaptionScores({}, dict.fromkeys(SCORED, "no reference has a word"), {})
        notes = {}
        if missing := len(captions) - len(gold):
            notes["references"] = f"{missing} images left out: none of their references has a word"
        if len(gold) == 1:
            notes["cider"] = (
                "CIDEr of a single image is always 0: its word weights come from the number of "
                "images whose references have a word"
            )
        scores, evidence = _word_scores(gold, said)
        if with_meteor:
            try:
                meteor = self._meteor.score(list(said.values()), list(gold.values()))
                scores["meteor"] = 100.0 * meteor.corpus
                evidence["meteor"] = Evidence("meteor", meteor.statistics)
            except JavaError as error:
                notes["meteor"] = str(error)
            try:
                spice = spice_scores(said, gold)
                real = np.isfinite(spice)
                scores["spice"] = 100.0 * float(np.mean(spice[real]))
                evidence["spice"] = Evidence("ratio", np.stack([np.where(real, spice, 0), real], 1))
            except JavaError as error:
                notes["spice"] = str(error)
        rows = np.array([i in gold for i in captions])
        for name, found in evidence.items():
            parts = np.zeros([len(rows), found.parts.shape[1]])
            parts[rows] = found.parts
            evidence[name] = Evidence(found.kind, parts)
        return CaptionScores(scores, notes, evidence)


def caption_style(
    captions: Mapping[str, str], training_sentences: Iterable[str] | None = None
) -> Scores:
    """Measures what BLEU does not: it is high for a model that repeats one sentence.

    Words are compared in lower case and without punctuation, as the models read them: "don't" is
    "dont".

    Args:
        captions: One caption by image id.
        training_sentences: Raw sentences; None if unknown.

    Returns:
        `distinct_captions`; `vocabulary_used`, the number of different words; `mean_length`, in
        words; `unfinished`, the percentage of captions that end in a word such as "a", "with" or
        "is", which needs another; `repeating`, the percentage in which a word that is no function
        word occurs twice; `copied`, the percentage of captions that equal a training sentence word
        by word (None without `training_sentences`).

    Example:
        >>> measures = caption_style({"1": "a dog", "2": "a cat"}, ["A dog.", "Two dogs."])
        >>> measures["distinct_captions"], measures["vocabulary_used"], measures["copied"]
        (2, 3, 50.0)
    """
    said = [_words(caption) for caption in captions.values()]
    copied = None
    if training_sentences is not None:
        known = {_words(sentence) for sentence in training_sentences}
        copied = _percentage(caption in known for caption in said)
    return {
        "distinct_captions": len(set(said)),
        "vocabulary_used": len({word for caption in said for word in caption}),
        "mean_length": float(np.mean([len(caption) for caption in said])),
        "unfinished": _percentage(caption[-1:] and caption[-1] in _NEED_A_NOUN for caption in said),
        "repeating": _percentage(_repeats(caption) for caption in said),
        "copied": copied,
    }


def _percentage(flags: Iterable[object]) -> float:
    return 100.0 * float(np.mean([bool(flag) for flag in flags]))


def _repeats(words: Sequence[str]) -> bool:
    content = [word for word in words if word not in FUNCTION_WORDS]
    return len(set(content)) < len(content)


def _words(sentence: str) -> tuple[str, ...]:
    return tuple(_NOT_IN_WORDS.sub("", sentence.lower()).split())


def _missing() -> str | None:
    """Returns what the scores lack; None if nothing."""
    try:
        import pycocoevalcap.bleu.bleu  # noqa: F401
    except ImportError as error:
        return f"pycocoevalcap is missing ({error}); pip install 'visem_tf[eval]'"
    reason = java_reason()
    return f"the PTB tokenizer needs Java: {reason}" if reason else None


def _word_scores(
    gold: dict[str, list[str]], said: dict[str, str]
) -> tuple[Scores, dict[str, Evidence]]:
    """BLEU, ROUGE-L and CIDEr in percent, and their evidence."""
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
    scores: Scores = {n: 100.0 * float(value) for n, value in zip(BLEU, bleu, strict=True)}
    evidence = {name: Evidence(name, parts) for name in BLEU}
    listed = {image_id: [text] for image_id, text in said.items()}
    for name, measure in (("rouge_l", Rouge()), ("cider", Cider())):
        value, single = measure.compute_score(gold, listed)
        scores[name] = 100.0 * float(value)
        evidence[name] = Evidence("ratio", np.stack([single, np.ones(len(single))], axis=1))
    return scores, evidence


def _check_same_images(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str]
) -> None:
    if not captions or set(references) != set(captions):
        differing = sorted(set(references) ^ set(captions))[:3]
        raise ValueError(
            f"references and captions must be of the same images, got {len(references)} and "
            f"{len(captions)}; in one of them only: {differing}"
        )


def _word_not_in(sentences: Sequence[str]) -> str:
    """Returns a word that occurs in no reference, not even as a part of another word."""
    everything, word = " ".join(sentences).lower(), "zqxunknown"
    while word in everything:
        word += "q"
    return word
