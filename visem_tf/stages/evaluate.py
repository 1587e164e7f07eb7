"""The fifth stage: the three experiments of the paper, into `metrics.json`.

Ranking, full-frame descriptions, and regions where the data set knows where its phrases are.
"""

import json
import time
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.datasets.loading import Split
from visem_tf.files import write_atomically
from visem_tf.metrics.captions import caption_scores
from visem_tf.metrics.ranking import ranking_metrics
from visem_tf.metrics.regions import alignment_accuracy
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.regions.cache import FeatureCache
from visem_tf.stages import Context
from visem_tf.stages.align import load_model, read_or_build_vocabulary
from visem_tf.stages.captioning import Describer
from visem_tf.stages.features import open_cache
from visem_tf.stages.generate import load_generator
from visem_tf.stages.infer import align_split
from visem_tf.stages.region_descriptions import region_description_scores
from visem_tf.stages.scoring import Scorer, sentence_token_ids
from visem_tf.text import Vocabulary


def run(context: Context) -> dict[str, Any]:
    """Evaluates the run on the configured split and writes `metrics.json` and the captions."""
    started = time.perf_counter()
    config, name = context.config, context.config.evaluate.split
    split, cache = context.data.splits[name], open_cache(context, name)
    vocabulary = read_or_build_vocabulary(context)
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    notes: dict[str, str] = {}
    metrics: dict[str, Any] = {
        "dataset": context.data.name,
        "split": name,
        "images": len(split.image_ids),
        "sentences": len(split.sentences),
    }
    model = load_model(context)
    scores = Scorer(model, cache.num_regions, cache.feature_dim)(cache, token_ids)
    metrics["ranking"] = ranking_metrics(scores, split.image_index)
    metrics["ranking_chance"] = _chance_ranking(split)
    metrics["captions"] = _captions(context, split, cache, vocabulary, notes)
    metrics["regions"] = _regions(context, model, split, cache, token_ids, vocabulary, notes)
    metrics["out_of_vocabulary_percent"] = 100.0 * vocabulary.out_of_vocabulary_rate(
        split.sentences
    )
    evaluate_s = round(time.perf_counter() - started, 3)
    metrics["timing"] = {**context.run.timing(), "evaluate_s": evaluate_s}
    metrics["notes"] = notes
    write_atomically(context.run / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    return {"split": name}


def _captions(
    context: Context,
    split: Split,
    cache: FeatureCache,
    vocabulary: Vocabulary,
    notes: dict[str, str],
) -> dict[str, Any] | None:
    """Full-frame descriptions by greedy search and by beam search."""
    generator = load_generator(context, "full_frame")
    if generator is None:
        notes["captions"] = "the full-frame generator was not trained"
        return None
    frames, references = cache.frame_features(), split.references()
    settings, beam_size = context.config.generate, context.config.evaluate.beam_size
    scores: dict[str, Any] = {}
    for search, beams in (("greedy", 1), ("beam", beam_size)):
        texts, _ = Describer(generator, vocabulary, settings, beams)(frames)
        captions = dict(zip(split.image_ids, texts, strict=True))
        scores[search], remarks = caption_scores(references, captions)
        notes.update({f"captions.{search}.{about}": text for about, text in remarks.items()})
        suffix = "" if search == "beam" else "_greedy"
        results = [{"image_id": image_id, "caption": text} for image_id, text in captions.items()]
        write_atomically(
            context.run / f"captions_{split.name}{suffix}.json",
            json.dumps(results, ensure_ascii=False, indent=0) + "\n",
        )
    scores["beam"]["beam_size"] = beam_size
    return scores


def _regions(
    context: Context,
    model: AlignmentModel,
    split: Split,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    vocabulary: Vocabulary,
    notes: dict[str, str],
) -> dict[str, Any] | None:
    """Alignment and region descriptions against the boxes that the data set knows."""
    phrases = split.phrases
    if phrases is None or not len(phrases.boxes):
        notes["regions"] = "the data set has no boxes of phrases"
        return None
    if split.regions is not None and not split.regions.has_boxes:
        notes["regions"] = "the features have no boxes"
        return None
    image_index = split.image_index
    boxes, mask = _all_boxes(cache)

    def accuracy(beta: float | None) -> dict[str, Any]:
        found = align_split(model, cache, token_ids, image_index, context.config, beta=beta)
        return alignment_accuracy(
            found.regions,
            boxes,
            image_index,
            phrases,
            region_mask=mask,
            similarities=found.similarities,
        )

    figures = accuracy(None)
    chance = figures.pop("chance")
    before = accuracy(0.0)
    lengths = token_ids.row_lengths().numpy()
    frame = np.where(np.arange(lengths.max())[np.newaxis] < lengths[:, np.newaxis], 0, -1)
    whole = alignment_accuracy(frame, boxes, image_index, phrases, region_mask=mask)
    names = ("word_accuracy", "phrase_iou50", "pointing")
    figures["without_mrf"] = {name: before[name] for name in names}
    figures["whole_frame"] = {name: whole[name] for name in names}
    figures["chance"] = chance
    if split.regions is not None:
        notes["regions.bleu"] = "without pictures, boxes cannot be described"
        return figures
    generators: dict[str, CaptionGenerator | None] = {
        name: load_generator(context, name) for name in ("regions", "full_frame")
    }
    described, remarks = region_description_scores(generators, split, vocabulary, context.config)
    notes.update({f"regions.{about}": text for about, text in remarks.items()})
    return {**figures, **described}


def _all_boxes(cache: FeatureCache) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of all pictures, [I, R, 4], and which are real, [I, R]."""
    blocks = [regions for _, regions in cache.batches(256)]
    return (
        np.concatenate([block.boxes for block in blocks]),
        np.concatenate([block.region_mask for block in blocks]),
    )


def _chance_ranking(split: Split) -> dict[str, dict[str, float]]:
    """What ranking at random is expected to reach, in percent, and its median rank."""
    images, sentences = len(split.image_ids), len(split.sentences)
    own = np.bincount(split.image_index, minlength=images)
    own = own[own > 0].astype(np.float64)
    annotation, search = {}, {}
    for k in (1, 5, 10):
        # P(no own sentence among k drawn) = prod over the draws of the share of foreign ones.
        draws = np.arange(min(k, sentences))[:, np.newaxis]
        missed = np.prod(np.maximum(sentences - own - draws, 0) / (sentences - draws), axis=0)
        annotation[f"r{k}"] = 100.0 * float(np.mean(1.0 - missed))
        search[f"r{k}"] = 100.0 * min(k, images) / images
    annotation["median_rank"] = _median_of_best(sentences, int(np.median(own)))
    search["median_rank"] = (images + 1) / 2
    return {"image_annotation": annotation, "image_search": search}


def _median_of_best(sentences: int, own: int) -> float:
    """The median rank of the best of `own` sentences in a random order of all."""
    missed = 1.0
    for rank in range(1, sentences + 1):
        missed *= max(sentences - own - rank + 1, 0) / (sentences - rank + 1)
        if missed <= 0.5:
            return float(rank)
    return float(sentences)
