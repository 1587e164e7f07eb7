"""Third experiment (section 4.3): alignment and region descriptions, against boxes of phrases."""

import itertools
from typing import Any

import numpy as np

from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.decoding.captioner import Captioner
from visem_tf.metrics.captions import BLEU, CaptionScorer, CaptionScores
from visem_tf.metrics.dense import DenseCaptions, dense_caption_map
from visem_tf.metrics.java import JavaError
from visem_tf.metrics.phrases import each_against_the_others, one_box_a_phrase
from visem_tf.metrics.regions import ALIGNMENT_METRICS, alignment_hits
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.extractor import Regions
from visem_tf.runs.generators import find_and_read_generator
from visem_tf.runs.grounding import Grounder
from visem_tf.stages.evaluate_grounding import evaluate_grounding
from visem_tf.stages.evaluate_snippets import evaluate_snippets
from visem_tf.stages.experiment import EvaluatedSplit, Experiment, absent, merge
from visem_tf.stages.nearest_neighbour import nearest_snippets
from visem_tf.stages.true_regions import TrueRegions, box_features, true_regions


def evaluate_regions(data: EvaluatedSplit, grounder: Grounder, scorer: CaptionScorer) -> Experiment:
    """Compares alignments and region descriptions with the boxes of phrases of the data set.

    Args:
        data: Split to evaluate on.
        grounder: Grounder of the run.
        scorer: Scorer of the descriptions.

    Returns:
        The figure "regions": of the alignment of words, of the grounding of phrases, of
        descriptions of true boxes, and of dense captioning.
    """
    phrases, source = data.split.phrases, data.split.regions
    if phrases is None or not len(phrases.boxes):
        return absent("regions", "the data set has no boxes of phrases")
    if source is not None and not source.has_boxes:
        return absent("regions", "the features have no boxes")
    truth, regions = true_regions(data.split, phrases), all_regions(data.cache)
    return merge(
        [
            evaluate_alignment(data, grounder, phrases, regions),
            evaluate_grounding(data, grounder, phrases, regions),
            evaluate_snippets(data, grounder, phrases),
            _descriptions(data, truth, scorer),
            _dense_captions(data, truth, regions, scorer),
        ]
    ).under("regions")


def all_regions(cache: FeatureCache) -> Regions:
    """Reads the regions of all images as NumPy arrays, without their features ([I, R, 0])."""
    blocks = [
        regions._replace(region_features=regions.region_features[..., :0])
        for _, regions in cache.batches(256)
    ]
    return Regions(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def evaluate_alignment(
    data: EvaluatedSplit, grounder: Grounder, phrases: Phrases, regions: Regions
) -> Experiment:
    """Evaluates the alignment with and without the MRF, beside the whole frame for every word.

    Args:
        data: Split to evaluate on.
        grounder: Grounder of the run.
        phrases: Phrases of the split with their boxes.
        regions: Regions of all images of the split.

    Returns:
        Word accuracy, pointing and overlap of phrases, and their values by chance.
    """
    image_index = data.split.image_index
    lengths = data.token_ids.row_lengths().numpy()
    frame = np.where(np.arange(lengths.max()) < lengths[:, np.newaxis], 0, -1)
    smooth = grounder.ground_split(data.cache, data.token_ids, image_index)
    single = grounder.ground_split(data.cache, data.token_ids, image_index, beta=0.0)
    results = []
    for name, chosen, scores in (
        ("", smooth.regions, smooth.scores),
        ("without_mrf", single.regions, single.scores),
        ("whole_frame", frame, None),
    ):
        hits = alignment_hits(
            chosen,
            regions.boxes,
            image_index,
            one_box_a_phrase(phrases),
            region_mask=regions.region_mask,
            similarities=scores,
        )
        figures = hits.accuracy()
        if name:
            figures = {figure: figures[figure] for figure in ALIGNMENT_METRICS}
        evidence = hits.evidence(len(data.split.image_ids))
        results.append(Experiment(figures, evidence=evidence).under(name))
    return merge(results)


def _descriptions(data: EvaluatedSplit, truth: TrueRegions, scorer: CaptionScorer) -> Experiment:
    """Scores descriptions of true boxes against those of people, by BLEU."""
    context, config = data.context, data.context.config
    figures: dict[str, Any] = {"described_boxes": 0, **dict.fromkeys(BLEU)}
    if data.split.regions is not None:
        reason = "true boxes cannot be described: the data set has features, but no images"
        return Experiment(figures, {"bleu": reason})
    features = box_features(data.split, truth, config, context.run.region_weights)
    systems: dict[str, dict[str, str]] = {}
    notes: dict[str, str] = {}
    for name, generator_name in (("", "regions"), ("full_frame_on_crop", "full_frame")):
        if not data.run.has(f"generate/{generator_name}"):
            notes[f"bleu.{generator_name}"] = "this generator was not trained"
            continue
        if generator_name == "regions":
            generator = data.run.region_generator
        else:  # its first member alone
            generator = find_and_read_generator(context.run, config.generate, generator_name)
        captioner = Captioner(
            generator, data.run.vocabulary, config.generate, config.evaluate.beam_size
        )
        systems[name] = dict(zip(truth.keys, captioner(features)[0], strict=True))
    if (context.run / "alignments.jsonl").exists():
        copies = nearest_snippets(context, features)
        systems["nearest_neighbour"] = dict(zip(truth.keys, copies, strict=True))
    else:
        figures["nearest_neighbour"] = dict.fromkeys(BLEU)
        notes["bleu.nearest_neighbour"] = "the run has no alignments.jsonl; run the stage infer"
    images = len(data.split.image_ids)
    figures |= {"described_boxes": len(truth.keys), "full_frame_on_crop": dict.fromkeys(BLEU)}
    results = [Experiment(figures, notes)]
    for name, found in scorer.score(truth.phrases, systems, with_meteor=False).items():
        results.append(_bleu(name, found, truth.image, images))
    references, captions, keys = each_against_the_others(truth.phrases)
    if captions:
        people = scorer.score(references, {"people": captions}, with_meteor=False)["people"]
        image = dict(zip(truth.keys, truth.image, strict=True))
        results.append(_bleu("people", people, np.array([image[key] for key in keys]), images))
    return merge(results)


def _bleu(name: str, found: CaptionScores, image: np.ndarray, images: int) -> Experiment:
    """The BLEU scores of a system; the region generator's own have the name ""."""
    scores = {score: found.scores[score] for score in BLEU}
    evidence = {
        score: found.evidence[score].grouped(image, images)
        for score in BLEU
        if score in found.evidence
    }
    about = {"": "regions", "full_frame_on_crop": "full_frame"}.get(name, name)
    notes = {f"bleu.{about}.{key}": text for key, text in found.notes.items()}
    return merge([Experiment(scores, evidence=evidence).under(name), Experiment({}, notes)])


def _dense_captions(
    data: EvaluatedSplit, truth: TrueRegions, regions: Regions, scorer: CaptionScorer
) -> Experiment:
    """Mean average precision of proposed boxes and their descriptions, as in DenseCap.

    The whole frame is left out where there is another region.
    """
    run = data.run
    if not run.has("generate/regions"):
        return absent("map", "the region generator was not trained")
    captioner = Captioner(run.region_generator, run.vocabulary, run.config.generate, 1)
    mask = regions.region_mask.copy()
    mask[mask.sum(axis=1) > 1, 0] = False
    captions: list[str] = []
    for images, block in data.cache.batches(256):
        captions += captioner(block.region_features[mask[images]])[0]
    bounds = np.cumsum([0, *mask.sum(axis=1)])
    predictions = [
        DenseCaptions(regions.boxes[n][mask[n]], captions[start:stop], regions.scores[n][mask[n]])
        for n, (start, stop) in enumerate(itertools.pairwise(bounds))
    ]
    texts = [text for key in truth.keys for text in truth.phrases[key]]
    counts = [len(truth.phrases[key]) for key in truth.keys]
    boxes = np.repeat(truth.boxes, counts, axis=0)
    bounds = np.searchsorted(np.repeat(truth.image, counts), np.arange(len(mask) + 1))
    truths = [
        DenseCaptions(boxes[start:stop], texts[start:stop])
        for start, stop in itertools.pairwise(bounds)
    ]
    try:
        return Experiment(dict(dense_caption_map(predictions, truths, scorer.meteor)))
    except JavaError as error:
        return Experiment(dict(dense_caption_map(predictions, truths)), {"map": str(error)})
