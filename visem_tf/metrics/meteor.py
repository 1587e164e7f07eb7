"""METEOR by the Java program of pycocoevalcap, and its formula for sums over captions.

M. Denkowski and A. Lavie, "Meteor Universal" (WMT 2014), version 1.5 with its settings for English.
"""

import contextlib
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from visem_tf.metrics.java import JavaError, decimal_points, java_reason, last_line

TIMEOUT_S = 1800
"""Seconds after which the program is killed."""

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MODULE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
_STATISTICS = 23


class MeteorScores(NamedTuple):
    """METEOR of N captions.

    Attributes:
        corpus: Score of all captions together, 0 to 1; not the mean of `single`.
        single: Float array [N], 0 to 1.
        statistics: Float array [N, 23], whose sums over captions give `corpus`.
    """

    corpus: float
    single: np.ndarray
    statistics: np.ndarray


class Meteor:
    """The Java program. It is started by the first call of `score` and ended by `close`."""

    def __init__(self) -> None:
        self._scorer: Any = None

    def score(self, captions: Sequence[str], references: Sequence[Sequence[str]]) -> MeteorScores:
        """Scores tokenized captions, each against its tokenized references.

        Args:
            captions: N texts; an empty one scores 0.
            references: N lists of at least one text.

        Raises:
            JavaError: If Java is missing, or the program fails or takes too long.
        """
        scorer = self._start()
        process = scorer.meteor_p
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            lines = [
                scorer._stat(caption, list(texts))
                for caption, texts in zip(captions, references, strict=True)
            ]
            process.stdin.write((" ||| ".join(["EVAL", *lines]) + "\n").encode())
            process.stdin.flush()
            scores = [float(process.stdout.readline().strip()) for _ in range(len(lines) + 1)]
            statistics = np.array([[float(x) for x in line.split()] for line in lines])
            statistics = statistics.reshape(len(lines), _STATISTICS)
        except (OSError, ValueError) as error:  # a broken pipe, or an answer that is not a number
            process.kill()
            reason = last_line(process.stderr.read()) or error
            self.close()
            raise JavaError(f"METEOR failed: {reason}") from error
        finally:
            watchdog.cancel()
        # In its sums METEOR counts no chunk, rather than one, for a caption that is its reference.
        words, chunks, matched = statistics[:, :2], statistics[:, 20], statistics[:, 21:]
        statistics[(words == matched).all(axis=1) & (chunks == 1), 20] = 0
        return MeteorScores(scores[-1], np.array(scores[:-1]), statistics)

    def close(self) -> None:
        """Ends the program."""
        if self._scorer is None:
            return
        process, self._scorer = self._scorer.meteor_p, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):  # input that the program has not read
                pipe.close()

    def _start(self) -> Any:
        if self._scorer is None:
            if reason := java_reason():
                raise JavaError(f"METEOR needs Java: {reason}")
            from pycocoevalcap.meteor.meteor import Meteor as Scorer

            try:
                with decimal_points():
                    self._scorer = Scorer()
            except OSError as error:
                raise JavaError(f"METEOR did not start: {error}") from error
        return self._scorer


def meteor_of_statistics(statistics: np.ndarray) -> np.ndarray:
    """Computes METEOR from the statistics that the Java program gives, single or summed.

    Args:
        statistics: Float array [..., 23]: words of the caption and of the reference, function
            words of both; for each of four kinds of match the matched content words of both and
            the matched function words of both; chunks (0 where the caption equals the reference);
            matched words of both.

    Returns:
        Float array [...], 0 to 1.

    Example:
        >>> same = np.zeros(23)
        >>> same[[0, 1, 4, 5, 21, 22]] = 3  # three words in both, all matched exactly
        >>> float(meteor_of_statistics(same))
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
