"""The third experiment: alignment and region descriptions, where boxes of phrases are known."""

from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.datasets.caption_dataset import Phrases, Split
from visem_tf.decoding.captioner import Captioner
from visem_tf.metrics.captions import BLEU, CaptionScorer
from visem_tf.metrics.dense import DenseCaptions, dense_caption_map
from visem_tf.metrics.java import JavaError
from visem_tf.metrics.phrases import each_against_the_others, one_box_a_phrase
from visem_tf.metrics.regions import ALIGNMENT_FIGURES, alignment_hits
from visem_tf.metrics.resampling import Evidence
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.extractor import Regions
from visem_tf.runs.checkpoints import load_generator
from visem_tf.runs.context import Context
from visem_tf.runs.grounding import Grounder
from visem_tf.stages.evaluate_captions import Experiment
from visem_tf.stages.nearest_neighbour import nearest_snippets
from visem_tf.stages.true_regions import TrueRegions, box_features, true_regions
from visem_tf.text import Vocabulary


def evaluate_regions(
    context: Context,
    grounder: Grounder,
    split: Split,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    vocabulary: Vocabulary,
    scorer: CaptionScorer,
) -> Experiment:
    """Compares with the boxes of phrases that the data set knows; nothing without any."""
    phrases = split.phrases
    if phrases is None or not len(phrases.boxes):
        return Experiment(None, {"regions": "the data set has no boxes of phrases"}, {})
    if split.regions is not None and not split.regions.has_boxes:
        return Experiment(None, {"regions": "the features have no boxes"}, {})
    figures, evidence = _alignment(context, grounder, split, cache, token_ids, phrases)
    notes: dict[str, str] = {}
    regions = true_regions(split, phrases)
    for part in (
        _descriptions(context, split, vocabulary, regions, scorer),
        _dense(context, split, cache, vocabulary, regions, scorer),
    ):
        figures |= part.figures or {}
        notes |= part.notes
        evidence |= part.evidence
    named = {f"regions.{name}": found for name, found in evidence.items()}
    return Experiment(figures, {f"regions.{name}": note for name, note in notes.items()}, named)


def all_regions(cache: FeatureCache) -> Regions:
    """The regions of all pictures in NumPy arrays, without their features ([I, R, 0])."""
    blocks = [regions for _, regions in cache.batches(256)]
    return Regions(
        np.concatenate([block.region_features[..., :0] for block in blocks]),
        np.concatenate([block.boxes for block in blocks]),
        np.concatenate([block.scores for block in blocks]),
        np.concatenate([block.region_mask for block in blocks]),
    )


def _alignment(
    context: Context,
    grounder: Grounder,
    split: Split,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    phrases: Phrases,
) -> tuple[dict[str, Any], dict[str, Evidence]]:
    """The alignment with and without the MRF, the whole frame for every word, and chance."""
    regions, image_index, images = all_regions(cache), split.image_index, len(split.image_ids)
    single = one_box_a_phrase(phrases)
    lengths = token_ids.row_lengths().numpy()
    frame = np.where(np.arange(lengths.max()) < lengths[:, np.newaxis], 0, -1)
    chosen = {"": (None, context.config.infer.beta), "without_mrf": (None, 0.0)}
    figures: dict[str, Any] = {}
    evidence: dict[str, Evidence] = {}
    for name, (where, beta) in {**chosen, "whole_frame": (frame, 0.0)}.items():
        similarities = None
        if where is None:
            where, similarities, _ = grounder.ground_split(cache, token_ids, image_index, beta)
        hits = alignment_hits(
            where,
            regions.boxes,
            image_index,
            single,
            region_mask=regions.region_mask,
            similarities=similarities,
        )
        accuracy = hits.accuracy()
        if name:
            figures[name] = {figure: accuracy[figure] for figure in ALIGNMENT_FIGURES}
        else:
            figures |= accuracy
        evidence |= {
            f"{name}.{figure}".lstrip("."): e for figure, e in hits.evidence(images).items()
        }
    return figures, evidence


def _descriptions(
    context: Context,
    split: Split,
    vocabulary: Vocabulary,
    regions: TrueRegions,
    scorer: CaptionScorer,
) -> Experiment:
    """Descriptions of true boxes against people's: the paper's last table."""
    config = context.config
    figures: dict[str, Any]
    if split.regions is not None:
        reason = "true boxes are described from pictures, and the features came without them"
        figures = {"described_boxes": 0, **dict.fromkeys(BLEU)}
        return Experiment(figures, {"bleu": reason}, {})
    features = box_features(split, regions, config, context.run.tuned_cnn)
    systems: dict[str, dict[str, str]] = {}
    notes: dict[str, str] = {}
    for name, generator_name in (("", "regions"), ("full_frame_on_crop", "full_frame")):
        generator = load_generator(context, generator_name)
        if generator is None:
            notes[f"bleu.{generator_name}"] = "this generator was not trained"
            continue
        search = Captioner(generator, vocabulary, config.generate, config.evaluate.beam_size)
        systems[name] = dict(zip(regions.keys, search(features)[0], strict=True))
    if (context.run / "alignments.jsonl").exists():
        copies = nearest_snippets(context, features)
        systems["nearest_neighbour"] = dict(zip(regions.keys, copies, strict=True))
    image = dict(zip(regions.keys, regions.image.tolist(), strict=True))
    scored = {
        name: (found, [image[key] for key in systems[name]])
        for name, found in scorer.score(regions.phrases, systems, with_meteor=False).items()
    }
    references, captions, things = each_against_the_others(regions.phrases)
    if captions:
        people = scorer.score(references, {"people": captions}, with_meteor=False)["people"]
        scored["people"] = (people, [image[thing] for thing in things])
    figures = {"described_boxes": len(regions.keys), **dict.fromkeys(BLEU)}
    figures["full_frame_on_crop"] = dict.fromkeys(BLEU)
    evidence: dict[str, Evidence] = {}
    for name, (found, owners) in scored.items():
        scores = {score: found.scores[score] for score in BLEU}
        if name:
            figures[name] = scores
        else:
            figures |= scores
        about = {"": "regions", "full_frame_on_crop": "full_frame"}.get(name, name)
        notes |= {f"bleu.{about}.{key}": text for key, text in found.notes.items()}
        for score in BLEU:
            if score in found.evidence:
                by_picture = found.evidence[score].grouped(np.array(owners), len(split.image_ids))
                evidence[f"{name}.{score}".lstrip(".")] = by_picture
    return Experiment(figures, notes, evidence)


def _dense(
    context: Context,
    split: Split,
    cache: FeatureCache,
    vocabulary: Vocabulary,
    truth: TrueRegions,
    scorer: CaptionScorer,
) -> Experiment:
    """Proposed boxes and what is said of them, by DenseCap's mean average precision.

    The whole frame is no proposal: it is left out where there is another region.
    """
    generator = load_generator(context, "regions")
    if generator is None:
        return Experiment({"map": None}, {"map": "the region generator was not trained"}, {})
    captioner = Captioner(generator, vocabulary, context.config.generate, 1)
    regions = all_regions(cache)
    mask = regions.region_mask.copy()
    mask[mask.sum(axis=1) > 1, 0] = False
    said: list[str] = []
    for pictures, block in cache.batches(256):
        said += captioner(block.region_features[mask[pictures]])[0]
    stops = np.cumsum(mask.sum(axis=1))
    predictions = [
        DenseCaptions(regions.boxes[n][mask[n]], texts, regions.scores[n][mask[n]])
        for n, texts in enumerate(
            said[start:stop] for start, stop in zip([0, *stops[:-1]], stops, strict=True)
        )
    ]
    texts = [text for key in truth.keys for text in truth.phrases[key]]
    counts = [len(truth.phrases[key]) for key in truth.keys]
    boxes, image = np.repeat(truth.boxes, counts, axis=0), np.repeat(truth.image, counts)
    phrases = np.array(texts, object)
    truths = [
        DenseCaptions(boxes[image == n], phrases[image == n].tolist())
        for n in range(len(split.image_ids))
    ]
    try:
        return Experiment(dict(dense_caption_map(predictions, truths, scorer.meteor)), {}, {})
    except JavaError as error:
        return Experiment(dict(dense_caption_map(predictions, truths)), {"map": str(error)}, {})
