"""Stage align: trains the alignment of words and regions (sections 3.1.2 and 3.1.3)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.alignment.substitutes import Sentences, find_substitutes, words_of_images
from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.models.alignment_ensemble import join_models
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.saving import load_model, save_model
from visem_tf.models.word_vectors import fill_in, read_word_vectors
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.report.previews import AlignmentPreview
from visem_tf.runs.checkpoints import build_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.generators import alignment_folders, member_seed
from visem_tf.runs.starting import start_alignment
from visem_tf.runtime.workers import barrier
from visem_tf.stages import bank, finetune, self_train
from visem_tf.stages.features import fill_untuned, mirrored_cache
from visem_tf.stages.training import open_pairs, recall_validation, train_model, warn_if_collapsed
from visem_tf.text import PAD_ID, Vocabulary
from visem_tf.training.batches import Part, epoch_batches
from visem_tf.training.examples import Pairs, Swaps, alignment_draws, alignment_examples
from visem_tf.training.optimizers import make_optimizer

ALL_WORKERS = True
complete = bank.complete


def run(context: Context) -> dict[str, Any]:
    """Trains the alignment model; the epoch that ranks the validation split best is kept."""
    config = context.config
    if config.align.finetune_epochs:
        finetune.check_data(context)
    if config.align.self_training_epochs:
        self_train.check_data(context)
    vocabulary = read_or_build_vocabulary(context)
    bank.remove(context)
    # A CNN that this run trains after the alignment is not yet used; one of `init_from` is.
    tuned = not config.align.finetune_epochs
    if not tuned:
        fill_untuned(context)
    pairs = open_pairs(context, vocabulary, tuned=tuned)
    mirrored = mirrored_cache(context, tuned=tuned) if config.align.mirror else None
    summary: dict[str, Any] = {}

    def build(steps_per_epoch: int) -> AlignmentModel:
        model = build_alignment_model(config, vocabulary, pairs["train"].cache, steps_per_epoch)
        summary.update(load_word_vectors(model, config, vocabulary))
        start_alignment(config, model, vocabulary)
        model.compile(optimizer=make_optimizer(config.align, steps_per_epoch))
        return model

    def train(title: str, folder: str, seed: int) -> dict[str, Any]:
        return train_model(
            context,
            title,
            folder,
            settings=config.align,
            seed=seed,
            num_examples=len(pairs["train"].image_index),
            build=build,
            make_dataset=training_pairs(config, pairs["train"], vocabulary, mirrored, seed),
            make_validation=lambda model: recall_validation(model, pairs["val"]),
            monitor="recall_sum",
            precision=config.compute.precision,
            callbacks=[AlignmentPreview(context, pairs["val"].cache, vocabulary)],
        )

    members = config.align.members
    if members == 1:
        summary |= train("alignment", "align", config.seed)
    else:
        folders = alignment_folders(members)
        found = [
            train(f"alignment {number + 1}", folder, member_seed(config.seed, number))
            for number, folder in enumerate(folders)
        ]
        summary |= {"members": found, **_join(context, folders, pairs["val"])}
    warn_if_collapsed(summary.get("members", [summary]))
    if config.align.finetune_epochs:
        summary["finetune"] = finetune.run(context, vocabulary)
    if config.align.self_training_epochs:
        summary["self_training"] = self_train.run(context, vocabulary)
    bank.write(context, vocabulary)
    return summary


def _join(context: Context, folders: list[str], pairs: Pairs) -> dict[str, float]:
    """Joins the members, saves the model, and returns its metrics on the validation split."""
    checkpoints = context.run / "checkpoints"
    members = [load_model(checkpoints / name / "best.keras", AlignmentModel) for name in folders]
    joined = join_models(members)
    if context.is_chief:
        save_model(joined, checkpoints / "align" / "best.keras")
    barrier(context.strategy)
    found = recall_validation(joined, pairs)()
    print(f"alignment, {len(folders)} members together: recall_sum {found['recall_sum']:.1f}")
    return found


def training_pairs(
    config: Config,
    pairs: Pairs,
    vocabulary: Vocabulary,
    mirrored: FeatureCache | None = None,
    seed: int | None = None,
) -> Callable[[Part], tf.data.Dataset]:
    """Makes the function that makes shuffled batches of pairs, from a part of the training on.

    Args:
        config: Configuration of the run.
        pairs: Sentences and regions of the training split.
        vocabulary: Words of the run.
        mirrored: Regions of the mirror images; None if they are not used.
        seed: Seed of the order; None is that of the run.

    Raises:
        UserError: `align.swap_weight` is set, and no noun can be replaced.
    """
    swaps = _find_swaps(config, pairs, vocabulary) if config.align.swap_weight else None

    def make_dataset(part: Part) -> tf.data.Dataset:
        batches = epoch_batches(
            len(pairs.image_index),
            config.align.batch_size,
            seed=config.seed if seed is None else seed,
            epochs=config.align.epochs,
            part=part,
            draws=alignment_draws(swaps, mirrored),
        )
        return alignment_examples(batches, pairs, swaps, mirrored)

    return make_dataset


def _find_swaps(config: Config, pairs: Pairs, vocabulary: Vocabulary) -> Swaps:
    """Finds the nouns of the training sentences and their substitutes, and prints examples."""
    sentences = Sentences.of(pairs.token_ids, pairs.image_index, len(vocabulary))
    substitutes = find_substitutes(sentences)
    found = np.flatnonzero((substitutes != PAD_ID).any(axis=1))
    if not len(found):
        raise UserError(
            "align.swap_weight replaces nouns, and the training sentences have none that another "
            "word can replace; give --align.swap_weight 0"
        )
    shown = "; ".join(
        f"{vocabulary.words[n]}: {', '.join(vocabulary.words[m] for m in substitutes[n, :3] if m)}"
        for n in found[:3]
    )
    print(f"swapped nouns: {len(found)} of {len(vocabulary) - 4} words, such as {shown}")
    image_words = words_of_images(sentences, len(pairs.cache))
    return Swaps(substitutes, image_words, config.align.swaps)


def load_word_vectors(
    model: AlignmentModel, config: Config, vocabulary: Vocabulary
) -> dict[str, float]:
    """Loads the word vectors of `align.word_vectors` into a model, and prints their coverage.

    Args:
        model: Built alignment model.
        config: Configuration of the run.
        vocabulary: Words of the model.

    Returns:
        "word_vector_coverage_percent", or an empty dictionary if no file is configured.

    Raises:
        UserError: The file cannot be used, or its vectors do not have `align.word_dim` elements.
    """
    settings = config.align
    if not settings.word_vectors:
        return {}
    vectors = read_word_vectors(settings.word_vectors, vocabulary)
    dim = vectors.matrix.shape[1]
    if dim != settings.word_dim:
        raise UserError(
            f"the vectors of {settings.word_vectors} have {dim} numbers and align.word_dim is "
            f"{settings.word_dim}; give --align.word_dim {dim}"
        )
    encoder = model.sentence_encoder
    encoder.load_word_vectors(fill_in(vectors, np.asarray(encoder.word_vectors.get_weights()[0])))
    missing = [vocabulary.words[n] for n in range(4, len(vocabulary)) if not vectors.known[n]]
    rest = f"; without one: {', '.join(missing[:10])}" if missing else ""
    rest += f" and {len(missing) - 10} more" if len(missing) > 10 else ""
    coverage = vectors.coverage_percent
    print(f"word vectors: {coverage:.1f} % of {len(vocabulary) - 4} words have one{rest}")
    return {"word_vector_coverage_percent": round(coverage, 2)}
