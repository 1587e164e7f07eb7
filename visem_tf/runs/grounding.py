"""Sentences that a user types: how well they fit pictures, and which words look where.

What `search`, `describe --sentence` and the demo have in common. Scores are S_kl of the paper
(section 3.1.3), the regions of the words those of the chain MRF (3.1.4).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.alignment.mrf import find_segments, smooth_alignment
from visem_tf.alignment.segments import box_as_json, snippet_as_json
from visem_tf.errors import UserError
from visem_tf.regions.extractor import Regions
from visem_tf.runs.trained import TrainedRun
from visem_tf.runtime.terminal import printable
from visem_tf.text import PAD_ID, UNK_ID, Vocabulary, tokenize

_IMAGES_AT_A_TIME = 100


@dataclass(frozen=True)
class Query:
    """A sentence, read.

    Attributes:
      text: As it was typed.
      words: T words.
      token_ids: int32 [T].
      dropped: How many words at its end were too many.
    """

    text: str
    words: list[str]
    token_ids: np.ndarray
    dropped: int

    @property
    def unknown(self) -> list[str]:
        """Words that the training sentences did not have, each once."""
        pairs = zip(self.words, self.token_ids.tolist(), strict=True)
        return list(dict.fromkeys(word for word, token_id in pairs if token_id == UNK_ID))

    def remarks(self) -> list[str]:
        """What the user should know of how the sentence was read."""
        found = []
        if self.unknown:
            were = "was" if len(self.unknown) == 1 else "were"
            found.append(f"{', '.join(self.unknown)} {were} not among the training words")
        if self.dropped:
            found.append(f"only the first {len(self.words)} words are read")
        return found


def read_query(text: str, vocabulary: Vocabulary, max_words: int) -> Query:
    """Reads a sentence.

    Args:
      text: The sentence.
      vocabulary: The words of the run.
      max_words: It is cut after this many.

    Raises:
      UserError: It has no word, or none that is known.

    Example:
      >>> vocabulary = Vocabulary.build(["a dog", "a cat"], min_count=1)
      >>> read_query("A dog, a bird!", vocabulary, 30).unknown
      ['bird']
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    tokens = tokenize(tf.constant([text]))
    words = [word.decode() for word in tokens.to_list()[0]]
    token_ids = vocabulary.lookup(tokens[:, :max_words]).numpy()[0].astype(np.int32)
    shown = text if len(text) < 60 else text[:57] + "…"
    if not words:
        raise UserError(f"there is no word in the sentence {shown!r}")
    query = Query(text, words[:max_words], token_ids, max(0, len(words) - max_words))
    if set(token_ids.tolist()) == {UNK_ID}:
        raise UserError(
            f"no word of the sentence {shown!r} was among the training words; "
            "vocabulary.txt in the run directory lists them"
        )
    return query


class Looks(NamedTuple):
    """Where the words of a sentence look, in B pictures.

    Attributes:
      regions: int32 [B, T], the region of every word by the chain MRF.
      similarities: float32 [B, T, R], v_i . s_t; minus infinity at padded regions.
    """

    regions: np.ndarray
    similarities: np.ndarray


class Looker:
    """Compares sentences with pictures by the alignment model of a run.

    Args:
      run: Has an alignment model.

    Raises:
      UserError: It has none.
    """

    def __init__(self, run: TrainedRun) -> None:
        self.model = run.alignment_model
        self.vocabulary = run.vocabulary
        self.config = run.config
        dim = self.model.region_encoder.embedding_dim
        embeddings = tf.TensorSpec([None, None, dim])
        mask = tf.TensorSpec([None, None], tf.bool)
        token_ids = tf.TensorSpec([None, None], tf.int32)
        self._embed = tf.function(self.model.encode_regions, reduce_retracing=True)
        self._score = tf.function(
            self._score_in_graph, input_signature=[embeddings, mask, token_ids]
        )
        self._look = tf.function(
            self._look_in_graph,
            input_signature=[embeddings, mask, token_ids, tf.TensorSpec([], tf.float32)],
        )

    def read(self, text: str) -> Query:
        """Reads a sentence, see `read_query`; it may be as long as those of the training."""
        return read_query(text, self.vocabulary, self.config.text.max_words)

    def embed(self, regions: Regions) -> np.ndarray:
        """The embeddings v of the regions of B pictures, float32 [B, R, D]."""
        features = np.asarray(regions.region_features, np.float32)
        blocks = [
            self._embed(tf.constant(features[start : start + _IMAGES_AT_A_TIME])).numpy()
            for start in range(0, len(features), _IMAGES_AT_A_TIME)
        ]
        return np.concatenate(blocks)

    def scores(self, embeddings: np.ndarray, mask: np.ndarray, query: Query) -> np.ndarray:
        """The score S_kl of every picture with a sentence.

        Args:
          embeddings: float [B, R, D], of `embed`.
          mask: bool [B, R], True = real.
          query: The sentence.

        Returns:
          float32 [B].
        """
        token_ids = tf.constant(query.token_ids[np.newaxis])
        blocks = [
            self._score(
                tf.constant(embeddings[start : start + _IMAGES_AT_A_TIME]),
                tf.constant(mask[start : start + _IMAGES_AT_A_TIME]),
                token_ids,
            ).numpy()
            for start in range(0, len(embeddings), _IMAGES_AT_A_TIME)
        ]
        return np.concatenate(blocks)[:, 0]

    def look(
        self, embeddings: np.ndarray, mask: np.ndarray, query: Query, beta: float | None = None
    ) -> Looks:
        """Finds the region of every word, in each of B pictures.

        Args:
          embeddings: float [B, R, D], of `embed`.
          mask: bool [B, R], True = real.
          query: The sentence, of T words.
          beta: What neighbouring words gain by sharing a region; None: as the run has it.
        """
        beta = self.config.infer.beta if beta is None else beta
        found = self._look(
            tf.constant(embeddings),
            tf.constant(mask),
            tf.constant(query.token_ids[np.newaxis]),
            tf.constant(beta, tf.float32),
        )
        return Looks(*(part.numpy() for part in found))

    def _score_in_graph(self, embeddings, mask, token_ids):
        words = self.model.encode_sentences(token_ids)
        real = tf.not_equal(token_ids, PAD_ID)
        return self.model.score_embeddings(embeddings, words, mask, real)

    def _look_in_graph(self, embeddings, mask, token_ids, beta):
        words = self.model.encode_sentences(token_ids)[0]
        similarities = tf.einsum("td,brd->btr", words, embeddings)
        lowest = tf.constant(float("-inf"), similarities.dtype)
        similarities = tf.where(mask[:, tf.newaxis], similarities, lowest)
        return smooth_alignment(similarities, None, mask, beta=beta), similarities


def looks_as_json(
    query: Query, regions: np.ndarray, similarities: np.ndarray, boxes: np.ndarray
) -> dict[str, Any]:
    """Where the words of a sentence look in one picture, in JSON's types.

    Args:
      query: The sentence, of T words.
      regions: int [T].
      similarities: float [T, R].
      boxes: float [R, 4], `rel_yxyx`.

    Returns:
      "words", a list of each word with its region, box and score (None for an unknown word's
      `known`), and "segments", the snippets as in `alignments.jsonl`.
    """
    scores = similarities[np.arange(len(regions)), regions]
    words = [
        {
            "word": word,
            "known": int(token_id) != UNK_ID,
            "region": int(region),
            "box": box_as_json(boxes[region]),
            "score": round(float(score), 4),
        }
        for word, token_id, region, score in zip(
            query.words, query.token_ids, regions, scores, strict=True
        )
    ]
    _, first, last, region = find_segments(regions[np.newaxis])
    segments = [
        snippet_as_json(query.words, a, b, i, boxes[i], np.mean(scores[a : b + 1]))
        for a, b, i in zip(first, last, region, strict=True)
    ]
    return {"words": words, "segments": segments}


def warn_of(queries: Sequence[Query]) -> None:
    """Prints the remarks on sentences as warnings."""
    for query in queries:
        for remark in query.remarks():
            print(f"visem_tf: warning: {printable(remark)}", file=sys.stderr)
