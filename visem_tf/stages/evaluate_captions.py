"""The second experiment: full-frame descriptions, beside those of the nearest neighbour."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.datasets.caption_dataset import Split
from visem_tf.decoding.captioner import Captioner
from visem_tf.metrics.caption_files import write_coco_results, write_result_struct
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.metrics.resampling import Evidence
from visem_tf.models.sentence_generator import SentenceGenerator
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.checkpoints import load_generator
from visem_tf.runs.context import Context
from visem_tf.runs.generators import with_ensemble
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.stages.nearest_neighbour import nearest_captions
from visem_tf.text import Vocabulary
from visem_tf.training.pipeline import attention_examples, caption_examples, ordered_batches


class Experiment(NamedTuple):
    """What an experiment found.

    Attributes:
      figures: its part of `metrics.json`; None where it could not be done.
      notes: why figures are missing, or what to know about them, by dotted name.
      evidence: what figures rest on, by dotted name.
    """

    figures: dict[str, Any] | None
    notes: dict[str, str]
    evidence: dict[str, Evidence]


def evaluate_captions(
    context: Context,
    split: Split,
    cache: FeatureCache,
    vocabulary: Vocabulary,
    scorer: CaptionScorer,
) -> Experiment:
    """Describes all pictures of a split by greedy search and by beam search, and scores that.

    Writes `captions_SPLIT.json` (beams), `captions_SPLIT_greedy.json` and, for neuraltalk's
    viewer, `result_struct_SPLIT.json`.
    """
    generator = load_generator(context, "full_frame")
    if generator is None:
        return Experiment(None, {"captions": "the full-frame generator was not trained"}, {})
    model, references = (
        with_ensemble(generator, context.config, vocabulary, context.run),
        split.references(),
    )
    settings, beam_size = context.config.generate, context.config.evaluate.beam_size
    systems: dict[str, dict[str, str]] = {}
    log_probs = np.zeros(0)
    for search, beams in (("greedy", 1), ("beam", beam_size)):
        texts, log_probs = Captioner(model, vocabulary, settings, beams).describe_cache(cache)
        systems[search] = dict(zip(split.image_ids, texts, strict=True))
        suffix = "" if search == "beam" else "_greedy"
        write_coco_results(context.run / f"captions_{split.name}{suffix}.json", systems[search])
    write_result_struct(
        context.run / f"result_struct_{split.name}.json",
        systems["beam"],
        log_probs.tolist(),
        references,
        split.file_names,
        {"beam_size": beam_size, "split": split.name},
        perplexity(generator, vocabulary, split, cache, context.config.text.max_words),
    )
    copies = nearest_captions(context, cache.frame_features())
    systems["nearest_neighbour"] = dict(zip(split.image_ids, copies, strict=True))

    found = scorer.score(references, systems, context.data.splits["train"].sentences)
    figures: dict[str, Any] = {}
    notes: dict[str, str] = {}
    evidence: dict[str, Evidence] = {}
    for name, system in found.items():
        figures[name] = dict(system.scores)
        notes |= {f"captions.{name}.{about}": text for about, text in system.notes.items()}
        evidence |= {f"captions.{name}.{score}": e for score, e in system.evidence.items()}
    figures["beam"]["beam_size"] = beam_size
    return Experiment(figures, notes, evidence)


def perplexity(
    generator: SentenceGenerator,
    vocabulary: Vocabulary,
    split: Split,
    cache: FeatureCache,
    max_words: int,
) -> float:
    """The perplexity of a split's sentences, unknown words counted as <unk>.

    Of an ensemble it is that of the run's own generator.
    """
    token_ids = sentence_token_ids(vocabulary, split.sentences, max_words)
    batches: tf.data.Dataset = ordered_batches(len(split.sentences), 100)
    if generator.reads_regions:
        examples = attention_examples(batches, cache, token_ids, split.image_index)
    else:
        frames = cache.frame_features()
        examples = caption_examples(
            batches, lambda rows: frames[split.image_index[rows]], cache.feature_dim, token_ids
        )
    generator.compile()
    return float(generator.evaluate(examples, verbose=0, return_dict=True)["perplexity"])
