"""METEOR: the Java program of pycocoevalcap, its formula, and a substitute in plain Python.

M. Denkowski and A. Lavie, "Meteor Universal" (WMT 2014), version 1.5 with its settings for English.
"""

import contextlib
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from visem_tf.metrics.caption_tokens import JavaError, java_reason

_METEOR_SECONDS = 1800  # it is killed then: a hanging scorer must not hang an evaluation
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MODULE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
STATISTICS = 23
"""Numbers in the statistics of a caption, which add up over captions."""


class MeteorScores(NamedTuple):
    """What METEOR says of N captions.

    Attributes:
      corpus: of all of them together, 0 to 1; not the mean of the single ones.
      single: float [N], 0 to 1.
      statistics: float [N, 23], whose sums give `corpus`.
    """

    corpus: float
    single: np.ndarray
    statistics: np.ndarray


class Meteor:
    """The Java program, started when first asked and gone at the end of the `with` block."""

    def __init__(self) -> None:
        self._scorer: Any = None

    def __enter__(self) -> "Meteor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def score(self, captions: Sequence[str], references: Sequence[Sequence[str]]) -> MeteorScores:
        """Scores captions, each against its references, all of them tokenized.

        Args:
          captions: N texts; an empty one scores 0.
          references: N lists of at least one text.

        Raises:
          JavaError: Java is missing, or the program fails or takes too long.
        """
        scorer = self._started()
        process = scorer.meteor_p
        watchdog = threading.Timer(_METEOR_SECONDS, process.kill)
        watchdog.start()
        try:
            lines = [
                scorer._stat(caption, list(texts))
                for caption, texts in zip(captions, references, strict=True)
            ]
            process.stdin.write((" ||| ".join(["EVAL", *lines]) + "\n").encode())
            process.stdin.flush()
            numbers = [float(process.stdout.readline().strip()) for _ in range(len(lines) + 1)]
            statistics = np.array([[float(x) for x in line.split()] for line in lines])
            statistics = _unfragmented(statistics.reshape(len(lines), STATISTICS))
        except (OSError, ValueError) as error:  # a pipe that broke, or an answer that is no number
            process.kill()
            last = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
            self.close()
            raise JavaError(f"METEOR failed: {' '.join(last) or error}") from error
        finally:
            watchdog.cancel()
        return MeteorScores(numbers[-1], np.array(numbers[:-1]), statistics)

    def close(self) -> None:
        """Ends the program."""
        if self._scorer is None:
            return
        process, self._scorer = self._scorer.meteor_p, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):  # what the dead process did not read
                pipe.close()

    def _started(self) -> Any:
        if self._scorer is None:
            if reason := java_reason():
                raise JavaError(f"METEOR needs Java: {reason}")
            from pycocoevalcap.meteor.meteor import Meteor as Scorer

            try:
                self._scorer = Scorer()
            except OSError as error:
                raise JavaError(f"METEOR did not start: {error}") from error
        return self._scorer


def meteor_of_statistics(statistics: np.ndarray) -> np.ndarray:
    """METEOR from the statistics that the Java program gives, single or summed.

    Args:
      statistics: float [..., 23]: words of the caption and of the reference, function words of
        both; for each of four kinds of match the matched content words of both and function words
        of both; chunks (0 where the caption equals the reference); matched words of both.

    Returns:
      float [...], 0 to 1.

    Example:
        >>> float(meteor_of_statistics(exact_statistics("a black dog", ["a black dog"])))
        1.0
    """
    s = np.asarray(statistics, np.float64)
    said, gold, said_function, gold_function = (s[..., n] for n in range(4))
    matches = s[..., 4:20].reshape(*s.shape[:-1], 4, 4)  # kinds, (content, content, function, …)
    said_matches = matches[..., [0, 2]] @ [_DELTA, 1 - _DELTA] @ _MODULE_WEIGHTS
    gold_matches = matches[..., [1, 3]] @ [_DELTA, 1 - _DELTA] @ _MODULE_WEIGHTS
    chunks, said_words, gold_words = (s[..., n] for n in (20, 21, 22))

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    precision = share(said_matches, _DELTA * (said - said_function) + (1 - _DELTA) * said_function)
    recall = share(gold_matches, _DELTA * (gold - gold_function) + (1 - _DELTA) * gold_function)
    mean = share(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    fragmentation = share(chunks, (said_words + gold_words) / 2)
    return mean * (1 - _GAMMA * fragmentation**_BETA)


def _unfragmented(statistics: np.ndarray) -> np.ndarray:
    """Captions that equal their reference have no chunk in METEOR's sums, rather than one."""
    said, gold, chunks = (statistics[:, n] for n in (0, 1, 20))
    whole = (statistics[:, 21] == said) & (statistics[:, 22] == gold) & (chunks == 1)
    statistics[whole, 20] = 0
    return statistics


def exact_statistics(caption: str, references: Sequence[str]) -> np.ndarray:
    """Statistics of METEOR where only equal words match and all words count alike: no Java.

    What the Java program does beyond it: stems, synonyms, paraphrases, and less weight for function
    words. Chunks are found greedily, the longest common run first.

    Args:
      caption: tokenized.
      references: at least one; the one that scores best counts.

    Returns:
      float [23], for `meteor_of_statistics`.
    """
    said = caption.split()
    rows = []
    for reference in references:
        gold = reference.split()
        chunks, matched = _chunks(said, gold)
        row = np.zeros(STATISTICS)
        row[[0, 1]] = len(said), len(gold)
        row[[4, 5]] = matched
        row[20:] = chunks, matched, matched
        rows.append(row)
    statistics = _unfragmented(np.array(rows))
    return statistics[int(np.argmax(meteor_of_statistics(statistics)))]


def _chunks(said: list[str], gold: list[str]) -> tuple[int, int]:
    """Runs of matched words, and matched words, the longest common run being taken first."""
    free = np.array(said, object)[:, np.newaxis] == np.array(gold, object)[np.newaxis]
    free = free.reshape(len(said), len(gold)).astype(np.int64)
    chunks = matched = 0
    while free.any():
        run = np.zeros([len(said) + 1, len(gold) + 1], np.int64)
        for i in range(len(said)):  # the length of the run of matches that ends here
            run[i + 1, 1:] = (run[i, :-1] + 1) * free[i]
        i, j = divmod(int(np.argmax(run)), run.shape[1])
        length = int(run[i, j])
        free[i - length : i] = 0
        free[:, j - length : j] = 0
        chunks, matched = chunks + 1, matched + length
    return chunks, matched
