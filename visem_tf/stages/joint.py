"""Stage align with `joint.train`: trains the alignment and the generators as one model.

The parts share the region encoder and the word vectors. Every few epochs the current alignment
cuts the training sentences into snippets again. Each part is saved where its own stage would save
it, so that later stages need not distinguish the two cases.
"""

from pathlib import Path
from typing import Any

from visem_tf.alignment.snippets import regions_of_snippets
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
    num_pairs = len(pairs["train"].image_index)
    # The model distinguishes neighbouring snippets by their regions.
    whole = config.infer.updated({"split": False})
    cut = SnippetCutter(vocabulary, whole, pairs["train"].token_ids)
    summary: dict[str, Any] = {"joint": True}

    def build(steps_per_epoch: int) -> JointModel:
        cache, token_ids, _ = pairs["train"]
        alignment = build_alignment_model(config, vocabulary, cache, steps_per_epoch)
        summary.update(load_word_vectors(alignment, config, vocabulary))
        shared = alignment.region_encoder, alignment.sentence_encoder.word_vectors
        sample = cache.sample_features()
        generators = {
            name: build_generator(config, name, vocabulary, sample, *shared)
            for name in GENERATORS
            if getattr(config.generate, name)
        }
        for generator in generators.values():
            generator.compile()  # for its validation
        weights = {
            "full_frame": config.joint.sentences_weight,
            "regions": config.joint.snippets_weight,
        }
        weights = {name: weights[name] for name in generators}
        longest = int(token_ids.bounding_shape()[1])
        model = JointModel(alignment, generators, weights, num_pairs, longest)
        for name, generator in generators.items():
            start_generator(config, name, generator, vocabulary)
        start_alignment(config, alignment, vocabulary)
        model.compile(optimizer=make_optimizer(config.align, steps_per_epoch))
        return model

    def make_validation(model: JointModel) -> Validation:
        ranking = recall_validation(model.alignment, pairs["val"])
        if "full_frame" not in model.generators:
            return ranking
        texts = sentence_texts(context, pairs["val"])
        perplexity = perplexity_validation(context, model.generators["full_frame"], texts)
        return lambda: {**ranking(), **perplexity()}

    def infer_snippets(model: JointModel, epoch: int) -> None:
        if epoch and epoch % config.joint.reinfer_every == 0:
            grounder = Grounder(model.alignment, vocabulary, config)
            found = grounder.ground_split(*pairs["train"])
            snippets = cut(found, pairs["train"].token_ids)
            regions = regions_of_snippets(snippets, found.regions.shape)
            model.set_regions(broadcast_from_chief(context.strategy, regions))

    def save_best(model: JointModel, path: Path) -> None:
        for name, generator in model.generators.items():
            save_model(generator, path.parents[1] / "generate" / name / "best.keras")
        save_model(model.alignment, path)  # last, because its file marks all parts as complete

    summary |= train_model(
        context,
        "joint",
        "align",
        settings=config.align,
        seed=config.seed,
        num_examples=num_pairs,
        build=build,
        make_dataset=training_pairs(config, pairs["train"], vocabulary),
        make_validation=make_validation,
        monitor=config.joint.monitor,
        save_best=save_best,
        before_epoch=infer_snippets,
    )
    warn_if_collapsed([summary])
    bank.write(context, vocabulary)
    return summary
