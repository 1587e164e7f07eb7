"""Second experiment (section 4.2): captions of whole images, beside those of nearest neighbours."""

import tensorflow as tf

from visem_tf.decoding import CaptioningModel, EnsembleModel
from visem_tf.decoding.captioner import Captioner
from visem_tf.metrics.caption_files import write_coco_results, write_result_struct
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.models.generator import SentenceGenerator
from visem_tf.runs.checkpoints import load_alignment_model
from visem_tf.runs.generators import read_full_frame_generators
from visem_tf.stages.experiment import EvaluatedSplit, Experiment, merge
from visem_tf.stages.nearest_neighbour import nearest_captions
from visem_tf.training.pipeline import attention_examples, caption_examples, ordered_batches


def evaluate_captions(data: EvaluatedSplit, scorer: CaptionScorer) -> Experiment:
    """Describes all images of a split by greedy search and by beam search, and scores the captions.

    Writes `captions_SPLIT.json` (beam search), `captions_SPLIT_greedy.json` and
    `result_struct_SPLIT.json`, which neuraltalk's viewer reads.

    Args:
        data: Split to evaluate on.
        scorer: Scorer of the captions.

    Returns:
        The figures "greedy", "beam" and "nearest_neighbour".
    """
    context, split, config = data.context, data.split, data.context.config
    if not context.run.generator("full_frame").exists():
        return Experiment(None, {"captions": "the full-frame generator was not trained"}, {})
    model = read_full_frame_generators(
        context.run, config, data.vocabulary, lambda: load_alignment_model(context)
    )
    beam_size = config.evaluate.beam_size
    systems: dict[str, dict[str, str]] = {}
    for search, beams, suffix in (("greedy", 1, "_greedy"), ("beam", beam_size, "")):
        captioner = Captioner(model, data.vocabulary, config.generate, beams)
        texts, log_probs = captioner.describe_cache(data.cache)
        systems[search] = dict(zip(split.image_ids, texts, strict=True))
        write_coco_results(context.run / f"captions_{split.name}{suffix}.json", systems[search])
    write_result_struct(
        context.run / f"result_struct_{split.name}.json",
        systems["beam"],
        log_probs.tolist(),
        split.references(),
        split.file_names,
        {"beam_size": beam_size, "split": split.name},
        perplexity(model, data),
    )
    copies = nearest_captions(context, data.cache.frame_features())
    systems["nearest_neighbour"] = dict(zip(split.image_ids, copies, strict=True))
    training_sentences = context.data.splits["train"].sentences
    scored = scorer.score(split.references(), systems, training_sentences)
    found = merge(
        Experiment({name: dict(system.scores)}, system.notes, system.evidence).under(name)
        for name, system in scored.items()
    )
    assert found.figures is not None
    found.figures["beam"]["beam_size"] = beam_size
    return found.under("captions")


def perplexity(model: CaptioningModel, data: EvaluatedSplit) -> float:
    """Computes the perplexity of the sentences of a split; unknown words count as `<unk>`.

    Args:
        model: Full-frame generator; of an ensemble, the first member counts.
        data: Split to evaluate on.
    """
    generator = model.members[0] if isinstance(model, EnsembleModel) else model
    assert isinstance(generator, SentenceGenerator)
    cache, image_index = data.cache, data.split.image_index
    batches: tf.data.Dataset = ordered_batches(len(image_index), 100)
    if generator.reads_regions:
        examples = attention_examples(batches, cache, data.token_ids, image_index)
    else:
        frames = cache.frame_features()
        examples = caption_examples(
            batches, lambda rows: frames[image_index[rows]], cache.feature_dim, data.token_ids
        )
    generator.compile()
    return float(generator.evaluate(examples, verbose=0, return_dict=True)["perplexity"])
