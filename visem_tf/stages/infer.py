"""The third stage: text snippets with a region each, for every training sentence (section 3.1.4).

    words -> regions by the chain MRF -> maximal runs of one region: snippets

Writes `alignments.jsonl`, a line a training sentence, which is both a result to look at and what
the region-level generator learns from.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

from visem_tf.alignment.mrf import find_segments, smooth_alignment
from visem_tf.alignment.segments import snippet_as_json
from visem_tf.config import Config
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.runtime.files import atomic_path
from visem_tf.stages.features import open_cache
from visem_tf.text import PAD_ID, tokenize

_SENTENCES_AT_A_TIME = 200


class Alignment(NamedTuple):
    """The alignment of the sentences of a split with the regions of their own pictures.

    Attributes:
      regions: int32 [S, T], the region of every word, -1 in the padding.
      similarities: float32 [S, T], v_i . s_t of every word with its region, 0 in the padding.
      boxes: float32 [S, T, 4], the regions' boxes, `rel_yxyx`.
    """

    regions: np.ndarray
    similarities: np.ndarray
    boxes: np.ndarray


def run(context: Context) -> dict[str, Any]:
    """Aligns the training sentences and writes them with their snippets."""
    config, split = context.config, context.data.splits["train"]
    vocabulary = read_or_build_vocabulary(context)
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    cache = open_cache(context, "train")
    alignment = align_split(
        load_alignment_model(context), cache, token_ids, split.image_index, config
    )
    tokens = tokenize(tf.constant(split.sentences))[:, : config.text.max_words].to_list()
    sentence, first, last, region = find_segments(alignment.regions)
    totals = np.cumsum(np.pad(alignment.similarities, [[0, 0], [1, 0]]), axis=1)
    scores = (totals[sentence, last + 1] - totals[sentence, first]) / (last + 1 - first)
    bounds = np.searchsorted(sentence, np.arange(len(tokens) + 1))
    has_boxes = split.regions is None or split.regions.has_boxes
    with (
        atomic_path(context.run / "alignments.jsonl") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for row, words in enumerate(tokens):
            text = [word.decode() for word in words]
            segments = [
                snippet_as_json(
                    text,
                    first[n],
                    last[n],
                    region[n],
                    alignment.boxes[row, first[n]] if has_boxes else None,
                    scores[n],
                )
                for n in range(bounds[row], bounds[row + 1])
            ]
            line = {
                "image_id": split.image_ids[split.image_index[row]],
                "sentence_id": split.sentence_ids[row],
                "tokens": text,
                "regions": alignment.regions[row, : len(text)].tolist(),
                "segments": segments,
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return {
        "sentences": len(tokens),
        "snippets": len(sentence),
        "words_per_snippet": round(float(np.mean(last + 1 - first)), 3),
        "whole_frame_share": round(float(np.mean(region == 0)), 4),
    }


def align_split(
    model: AlignmentModel,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    image_index: np.ndarray,
    config: Config,
    *,
    beta: float | None = None,
) -> Alignment:
    """Aligns every sentence with the regions of its picture.

    Args:
      model: Embeds words and regions.
      cache: The split's regions.
      token_ids: int32 [S, (T)].
      image_index: int [S], the picture of every sentence.
      config: Its `infer.beta` smooths.
      beta: Instead of it.
    """
    parts = list(_aligned_blocks(model, cache, token_ids, image_index, config, beta))
    longest = max((part.regions.shape[1] for part in parts), default=0)

    def stacked(name: str, padding: int) -> np.ndarray:
        arrays = [getattr(part, name) for part in parts]
        widths = [[(0, 0), (0, longest - a.shape[1])] + [(0, 0)] * (a.ndim - 2) for a in arrays]
        return np.concatenate(
            [np.pad(a, w, constant_values=padding) for a, w in zip(arrays, widths, strict=True)]
        )

    return Alignment(stacked("regions", -1), stacked("similarities", 0), stacked("boxes", 0))


def align_words(
    model: AlignmentModel,
    region_features: tf.Tensor,
    region_mask: tf.Tensor,
    boxes: tf.Tensor,
    token_ids: tf.Tensor,
    beta: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Aligns sentences with the regions of their pictures, row by row, in graph.

    Args:
      model: Embeds words and regions.
      region_features: float [B, R, F].
      region_mask: bool [B, R], True = real.
      boxes: float [B, R, 4], `rel_yxyx`.
      token_ids: int32 [B, T], PAD after the last word.
      beta: What neighbouring words gain by sharing a region.

    Returns:
      The three tensors of an `Alignment`.
    """
    similarities = model.word_region_similarities(
        {"region_features": region_features, "region_mask": region_mask, "token_ids": token_ids}
    )
    word_mask = tf.not_equal(token_ids, PAD_ID)
    regions = smooth_alignment(similarities, word_mask, region_mask, beta=beta)
    chosen = tf.maximum(regions, 0)
    similarity = tf.gather(similarities, chosen, axis=2, batch_dims=2)
    return (
        regions,
        tf.where(word_mask, similarity, 0.0),
        tf.gather(boxes, chosen, axis=1, batch_dims=1),
    )


def _aligned_blocks(
    model: AlignmentModel,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    image_index: np.ndarray,
    config: Config,
    beta: float | None,
) -> Iterator[Alignment]:
    beta = config.infer.beta if beta is None else beta

    num_regions = cache.num_regions

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, num_regions, cache.feature_dim]),
            tf.TensorSpec([None, num_regions], tf.bool),
            tf.TensorSpec([None, num_regions, 4]),
            tf.TensorSpec([None, None], tf.int32),
        ]
    )
    def align(features, region_mask, boxes, words):
        return align_words(model, features, region_mask, boxes, words, beta)

    count = token_ids.shape[0]
    with tqdm.tqdm(total=count, desc="align", unit=" sentences", disable=None, leave=False) as bar:
        for start in range(0, count, _SENTENCES_AT_A_TIME):
            stop = min(start + _SENTENCES_AT_A_TIME, count)
            regions = cache.gather(image_index[start:stop])
            block = align(
                tf.constant(regions.region_features),
                tf.constant(regions.region_mask),
                tf.constant(regions.boxes),
                token_ids[start:stop].to_tensor(PAD_ID),
            )
            yield Alignment(*(part.numpy() for part in block))
            bar.update(stop - start)
