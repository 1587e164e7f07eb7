"""BLEU, METEOR, ROUGE-L and CIDEr of captions, by the scorer that the field compares with."""

import contextlib
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from visem_tf.metrics.caption_tokens import JavaError, java_reason, tokenize_for_scoring

_SCORED = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")
_UNKNOWN_WORD = "<unk>"
_METEOR_SECONDS = 1800  # it is killed then: a hanging scorer must not hang an evaluation


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

    Without Java there is neither the PTB tokenizer nor METEOR: a tokenizer in Python stands in
    (`visem_tf.metrics.caption_tokens`) and METEOR is None. Without pycocoevalcap all scores are.

    Args:
      references: sentences by image_id.
      captions: one caption by image_id, of the same pictures.
      with_meteor: whether METEOR, which takes a Java process and seconds, is wanted.

    Returns:
      Scores: `bleu1` to `bleu4`, `meteor`, `rouge_l` and `cider` in percent, or None where they
      could not be computed; and what betrays a model that says the same everywhere:
      `distinct_captions`, `vocabulary_used` (different words in all captions) and `mean_length`
      (in words).
      Notes: why a score is None, or what to know about it, by the name of the score.

    Raises:
      ValueError: if the two do not hold the same pictures, or there are none.
    """
    if not captions or set(references) != set(captions):
        strangers = sorted(set(references) ^ set(captions))[:3]
        raise ValueError(
            f"references and captions must be of the same pictures, got {len(references)} and "
            f"{len(captions)}; in one of them only: {strangers}"
        )
    scores: dict[str, float | int | None] = dict.fromkeys(_SCORED)
    scores.update(_diversity(captions))
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as error:
        reason = f"pycocoevalcap is missing ({error}); pip install 'visem_tf[eval]'"
        return scores, dict.fromkeys(_SCORED, reason)

    notes: dict[str, str] = {}
    gold, said = _tokens(references, captions, notes)
    if not gold:
        return scores, dict.fromkeys(_SCORED, "no reference has a word")
    bleu, _ = Bleu(4).compute_score(gold, said, verbose=0)
    scores |= {f"bleu{n}": 100.0 * float(value) for n, value in enumerate(bleu, start=1)}
    scores["rouge_l"] = 100.0 * float(Rouge().compute_score(gold, said)[0])
    scores["cider"] = 100.0 * float(Cider().compute_score(gold, said)[0])
    if len(gold) == 1:
        notes["cider"] = (
            "CIDEr of a single picture is always 0: its word weights come from the number of "
            "pictures whose references hold a word"
        )
    if not with_meteor:
        return scores, notes
    try:
        scores["meteor"] = 100.0 * _meteor(gold, said)
    except JavaError as error:
        notes["meteor"] = str(error)
    return scores, notes


def _diversity(captions: Mapping[str, str]) -> dict[str, float | int]:
    words = [caption.split() for caption in captions.values()]
    return {
        "distinct_captions": len({tuple(caption) for caption in words}),
        "vocabulary_used": len({word for caption in words for word in caption}),
        "mean_length": float(np.mean([len(caption) for caption in words])),
    }


def _tokens(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str], notes: dict[str, str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Tokenized references and captions, by image_id, as pycocoevalcap wants them."""
    owners = [image_id for image_id, group in references.items() for _ in group]
    sentences = [sentence for group in references.values() for sentence in group]
    never = _word_not_in(sentences)
    sentences += [caption.replace(_UNKNOWN_WORD, f" {never} ") for caption in captions.values()]
    tokenized, note = tokenize_for_scoring(sentences)
    if note:
        notes["tokenizer"] = note

    gold: dict[str, list[str]] = {}
    for owner, sentence in zip(owners, tokenized, strict=False):
        if sentence:
            gold.setdefault(owner, []).append(sentence)
    said = dict(zip(captions, tokenized[len(owners) :], strict=True))
    if missing := len(captions) - len(gold):
        notes["references"] = f"{missing} pictures left out: no reference of theirs has a word"
    return gold, {image_id: [said[image_id]] for image_id in gold}


def _word_not_in(sentences: Sequence[str]) -> str:
    """A word that no reference has, nor a form of it."""
    everything, word = " ".join(sentences).lower(), "zqxunknown"
    while word in everything:
        word += "q"
    return word


def _meteor(gold: dict[str, list[str]], said: dict[str, list[str]]) -> float:
    """METEOR, from 0 to 1, by a Java process that is gone afterwards."""
    from pycocoevalcap.meteor.meteor import Meteor

    if reason := java_reason():
        raise JavaError(f"METEOR needs Java: {reason}")
    try:
        meteor = Meteor()
    except OSError as error:
        raise JavaError(f"METEOR did not start: {error}") from error
    process = meteor.meteor_p
    watchdog = threading.Timer(_METEOR_SECONDS, process.kill)
    watchdog.start()
    try:
        score, _ = meteor.compute_score(gold, said)
    except (OSError, ValueError) as error:  # a pipe that broke, or an answer that is no number
        process.kill()
        last = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        raise JavaError(f"METEOR failed: {' '.join(last) or error}") from error
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):  # what the dead process did not read
                pipe.close()
        # After a failure pycocoevalcap keeps its lock, and would wait for it for ever when freed.
        if meteor.lock.locked():
            meteor.lock.release()
    return float(score)
