"""Nearest neighbours in the space of CNN features: the paper's baseline that has no model."""

import json

import numpy as np

from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.context import Context
from visem_tf.stages.features import open_cache

_PICTURES_AT_A_TIME = 256


def nearest_captions(context: Context, frames: np.ndarray) -> list[str]:
    """For each picture the first sentence of the training picture whose frame looks most alike.

    Args:
      context: Of a run; its training features are cached.
      frames: float [N, F], CNN vectors of whole pictures.

    Returns:
      N raw sentences.
    """
    split = context.data.splits["train"]
    first = np.unique(split.image_index, return_index=True)[1]
    found = _nearest(frames, open_cache(context, "train"), frames_only=True)
    return [split.sentences[first[image]] for image, _ in found]


def nearest_snippets(context: Context, features: np.ndarray) -> list[str]:
    """For each region the snippet of the training region that looks most alike.

    Only training regions that the alignment gave a snippet are looked at; the first counts.

    Args:
      context: Of a run with `alignments.jsonl`.
      features: float [N, F], CNN vectors of regions.

    Returns:
      N snippets.
    """
    cache = open_cache(context, "train")
    position = {image_id: n for n, image_id in enumerate(context.data.splits["train"].image_ids)}
    snippets: dict[tuple[int, int], str] = {}
    with (context.run / "alignments.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            sentence = json.loads(line)
            image = position[sentence["image_id"]]
            for segment in sentence["segments"]:
                snippets.setdefault((image, segment["region"]), segment["text"])
    spoken = np.zeros([len(cache), cache.num_regions], bool)
    spoken[tuple(np.array(list(snippets)).T)] = True
    found = _nearest(features, cache, among=spoken)
    return [snippets[int(image), int(region)] for image, region in found]


def _nearest(
    features: np.ndarray,
    cache: FeatureCache,
    *,
    frames_only: bool = False,
    among: np.ndarray | None = None,
) -> np.ndarray:
    """Picture and region of the most similar vector (cosine), int [N, 2].

    Args:
      features: float [N, F].
      cache: The candidates.
      frames_only: whether only the frames, region 0, are candidates.
      among: bool [I, R], which regions are candidates; by default all.
    """
    queries = _unit(features)
    best = np.full(len(queries), -np.inf)
    found = np.zeros([len(queries), 2], np.int64)
    for pictures, regions in cache.batches(_PICTURES_AT_A_TIME):
        mask = regions.region_mask if among is None else among[pictures]
        if frames_only:
            mask = mask & (np.arange(mask.shape[1]) == 0)
        image, region = np.nonzero(mask)
        if not len(image):
            continue
        similarity = queries @ _unit(regions.region_features[image, region]).T
        winner = np.argmax(similarity, axis=1)
        value = similarity[np.arange(len(queries)), winner]
        better = value > best
        best = np.where(better, value, best)
        found[better] = np.stack([pictures[image], region], axis=1)[winner[better]]
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
