"""Second experiment (section 4.2): captions of whole images, beside those of nearest neighbours."""

from visem_tf.decoding import CaptioningModel, EnsembleModel
from visem_tf.decoding.captioner import Captioner
from visem_tf.metrics.caption_files import write_coco_results, write_result_struct
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.models.generator import SentenceGenerator
from visem_tf.stages.experiment import EvaluatedSplit, Experiment, absent, merge
from visem_tf.stages.generate import sentence_texts
from visem_tf.stages.nearest_neighbour import nearest_captions
from visem_tf.training.batches import ordered_batches
from visem_tf.training.examples import Pairs


def evaluate_captions(data: EvaluatedSplit, scorer: CaptionScorer) -> Experiment:
    """Describes all images of a split by greedy search and by beam search, and scores the captions.

    Writes `captions_SPLIT.json` (beam search), `captions_SPLIT_greedy.json` and
    `result_struct_SPLIT.json`, which neuraltalk's viewer reads.

    Args:
        data: Split to evaluate on.
        scorer: Scorer of the captions.

    Returns:
        The figure "captions", of "greedy", "beam" and "nearest_neighbour".
    """
    context, split, config = data.context, data.split, data.context.config
    if not data.run.has("generate/full_frame"):
        return absent("captions", "the full-frame generator was not trained")
    model = data.run.full_frame_generator
    beam_size = config.evaluate.beam_size
    systems: dict[str, dict[str, str]] = {}
    for search, beams, suffix in (("greedy", 1, "_greedy"), ("beam", beam_size, "")):
        captioner = Captioner(model, data.run.vocabulary, config.generate, beams)
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
        Experiment(dict(system.scores), system.notes, system.evidence).under(name)
        for name, system in scored.items()
    )
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
    pairs = Pairs(data.cache, data.token_ids, data.split.image_index)
    texts = sentence_texts(data.context, pairs)
    examples = texts.examples(ordered_batches(len(texts), 100))
    generator.compile()
    return float(generator.evaluate(examples, verbose=0, return_dict=True)["perplexity"])
