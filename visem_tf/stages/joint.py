"""Stage align with `joint.train`: trains the alignment and the generators as one model.

The parts share the region encoder and the word vectors. Every few epochs the current alignment
cuts the training sentences into snippets again. Each part is saved where its own stage would save
it, so that later stages need not distinguish the two cases.
"""

import functools
from pathlib import Path
from typing import Any

from visem_tf.alignment.snippets import regions_of_snippets
from visem_tf.config import Config
from visem_tf.models.joint_model import JointModel
from visem_tf.models.saving import save_model
from visem_tf.runs.checkpoints import build_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.generators import GENERATORS, build_generator
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.snippets import SnippetCutter
from visem_tf.runs.starting import start_alignment, start_generator
from visem_tf.runtime.workers import broadcast_from_chief
from visem_tf.stages import bank
from visem_tf.stages.align import load_word_vectors, training_pairs
from visem_tf.stages.generate import perplexity_validation, sentence_texts
from visem_tf.stages.training import open_pairs, recall_validation, train_model, warn_if_collapsed
from visem_tf.text import Vocabulary
from visem_tf.training.examples import Pairs
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.resumable import Validation

ALL_WORKERS = True
complete = bank.complete


def run(context: Context) -> dict[str, Any]:
    """Trains all parts; the epoch with the best `joint.monitor` is kept of all of them."""
    config = context.config
    vocabulary = read_or_build_vocabulary(context)
    bank.remove(context)
    pairs = open_pairs(context, vocabulary)
    # The model distinguishes neighbouring snippets by their regions.
    whole = config.infer.updated({"split": False})
    cut = SnippetCutter(vocabulary, whole, pairs["train"].token_ids)
    summary: dict[str, Any] = {"joint": True}

    def build(steps_per_epoch: int) -> JointModel:
        model = _build(config, vocabulary, pairs["train"], steps_per_epoch)
        summary.update(load_word_vectors(model.alignment, config, vocabulary))
        for name, generator in model.generators.items():
            start_generator(config, name, generator, vocabulary)
        start_alignment(config, model.alignment, vocabulary)
        model.compile(optimizer=make_optimizer(config.align, steps_per_epoch))
        return model

    def infer_snippets(model: JointModel, epoch: int) -> None:
        if epoch and epoch % config.joint.reinfer_every == 0:
            grounder = Grounder(model.alignment, vocabulary, config)
            found = grounder.ground_split(*pairs["train"])
            snippets = cut(found, pairs["train"].token_ids)
            regions = regions_of_snippets(snippets, found.regions.shape)
            model.set_regions(broadcast_from_chief(context.strategy, regions))

    summary |= train_model(
        context,
        "joint",
        "align",
        settings=config.align,
        seed=config.seed,
        num_examples=len(pairs["train"].image_index),
        build=build,
        make_dataset=training_pairs(config, pairs["train"], vocabulary),
        make_validation=functools.partial(_make_validation, context, pairs["val"]),
        monitor=config.joint.monitor,
        save_best=_save_best,
        before_epoch=infer_snippets,
    )
    warn_if_collapsed([summary])
    bank.write(context, vocabulary)
    return summary


def _build(
    config: Config, vocabulary: Vocabulary, pairs: Pairs, steps_per_epoch: int
) -> JointModel:
    """Builds the alignment model, and the generators that share its layers, with random weights."""
    alignment = build_alignment_model(config, vocabulary, pairs.cache, steps_per_epoch)
    shared = alignment.region_encoder, alignment.sentence_encoder.word_vectors
    sample = pairs.cache.sample_features()
    generators = {
        name: build_generator(config, name, vocabulary, sample, *shared)
        for name in GENERATORS
        if getattr(config.generate, name)
    }
    for generator in generators.values():
        generator.compile()  # for its validation
    weights = {"full_frame": config.joint.sentences_weight, "regions": config.joint.snippets_weight}
    return JointModel(
        alignment,
        generators,
        {name: weights[name] for name in generators},
        num_sentences=len(pairs.image_index),
        max_words=int(pairs.token_ids.bounding_shape()[1]),
    )


def _make_validation(context: Context, pairs: Pairs, model: JointModel) -> Validation:
    """Makes the function that computes the recalls and the perplexity on a split."""
    ranking = recall_validation(model.alignment, pairs)
    if "full_frame" not in model.generators:
        return ranking
    texts = sentence_texts(context, pairs)
    perplexity = perplexity_validation(context, model.generators["full_frame"], texts)
    return lambda: {**ranking(), **perplexity()}


def _save_best(model: JointModel, path: Path) -> None:
    """Saves each part where its own stage would save it."""
    for name, generator in model.generators.items():
        save_model(generator, path.parents[1] / "generate" / name / "best.keras")
    save_model(model.alignment, path)  # last, because its file marks all parts as complete
