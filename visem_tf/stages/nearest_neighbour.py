"""Baseline without a model: the text of the nearest neighbour in the space of CNN features."""

from typing import TypedDict

import numpy as np

from visem_tf.errors import UserError
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.context import Context
from visem_tf.runtime.json_files import parse_json
from visem_tf.stages.features import open_cache

_IMAGES_AT_A_TIME = 256


class _Segment(TypedDict):
    region: int
    text: str


class _Sentence(TypedDict):
    """A line of `alignments.jsonl`, as far as it is read here."""

    image_id: str
    segments: list[_Segment]


def nearest_captions(context: Context, frames: np.ndarray) -> list[str]:
    """Returns the first sentence of the training image with the most similar whole frame.

    Args:
        context: Context of a run whose training features are cached.
        frames: CNN features of N whole images, float [N, F].

    Returns:
        N sentences.
    """
    split, cache = context.data.splits["train"], open_cache(context, "train")
    first = split.first_sentences
    candidates = np.zeros([len(cache), cache.num_regions], bool)
    candidates[:, 0] = True
    return [split.sentences[first[image]] for image, _ in _nearest(frames, cache, candidates)]


def nearest_snippets(context: Context, features: np.ndarray) -> list[str]:
    """Returns the snippet of the most similar training region.

    Candidates are the training regions to which the alignment has assigned a snippet; if it has
    assigned several, the first one is used.

    Args:
        context: Context of a run with `alignments.jsonl`.
        features: CNN features of N regions, float [N, F].

    Returns:
        N snippets.
    """
    cache = open_cache(context, "train")
    path = context.run / "alignments.jsonl"
    position = {image_id: n for n, image_id in enumerate(context.data.splits["train"].image_ids)}
    snippets: dict[tuple[int, int], str] = {}
    candidates = np.zeros([len(cache), cache.num_regions], bool)
    try:
        with path.open("rb") as lines:
            for line in lines:
                sentence = parse_json(line, _Sentence)
                image = position[sentence["image_id"]]
                for segment in sentence["segments"]:
                    snippets.setdefault((image, segment["region"]), segment["text"])
        regions = np.array(list(snippets)).reshape(-1, 2)
        if not len(regions) or regions.min() < 0:
            raise ValueError("it has no segments, or those of regions that do not exist")
        candidates[tuple(regions.T)] = True
    except (ValueError, LookupError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it, and run the stages infer and evaluate"
        ) from error
    return [snippets[image, region] for image, region in _nearest(features, cache, candidates)]


def _nearest(
    features: np.ndarray, cache: FeatureCache, candidates: np.ndarray
) -> list[tuple[int, int]]:
    """Finds the image and the region with the largest cosine to each of N vectors.

    Args:
        features: Vectors, float [N, F].
        cache: Regions of I images.
        candidates: Boolean array [I, R], True for regions to choose from.
    """
    queries = _unit(features)
    best = np.full(len(queries), -np.inf)
    found = np.zeros([len(queries), 2], np.int64)
    for images, regions in cache.batches(_IMAGES_AT_A_TIME):
        row, region = np.nonzero(candidates[images])
        if not len(row):
            continue
        similarity = queries @ _unit(regions.region_features[row, region]).T
        winner = np.argmax(similarity, axis=1)
        value = similarity.max(axis=1)
        better = value > best
        best = np.where(better, value, best)
        found[better] = np.stack([images[row], region], axis=1)[winner[better]]
    return [(int(image), int(region)) for image, region in found]


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
