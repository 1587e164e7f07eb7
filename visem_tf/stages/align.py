"""The second stage: trains the alignment of words and regions (section 3.1 of the paper)."""

import sys
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.precision import training_precision
from visem_tf.models.word_vectors import fill_in, read_word_vectors
from visem_tf.report.previews import AlignmentWatch, record
from visem_tf.runs.checkpoints import build_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.scoring import Scorer, recalls, sentence_token_ids
from visem_tf.runtime.devices import set_seed
from visem_tf.stages import finetune
from visem_tf.stages.features import open_cache
from visem_tf.text import Vocabulary
from visem_tf.training.loop import Progress, train
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.pipeline import Part, alignment_examples, epoch_batches

ALL_WORKERS = True


def run(context: Context) -> dict[str, Any]:
    """Trains the model; the epoch that ranks the validation split best is kept."""
    config, data = context.config, context.data
    vocabulary = read_or_build_vocabulary(context)
    caches = {split: open_cache(context, split, tuned=False) for split in ("train", "val")}
    token_ids = {
        split: sentence_token_ids(vocabulary, data.splits[split].sentences, config.text.max_words)
        for split in caches
    }
    train_split, val_split = data.splits["train"], data.splits["val"]
    num_pairs = len(train_split.sentences)
    steps_per_epoch = -(-num_pairs // config.align.batch_size)
    set_seed(config.seed)
    with context.strategy.scope(), training_precision(config.compute.precision):
        model = build_alignment_model(config, vocabulary, caches["train"], steps_per_epoch)
        coverage = load_word_vectors(model, config, vocabulary)
        model.compile(optimizer=make_optimizer(config.align, steps_per_epoch))
    scorer = Scorer(model)
    progress = Progress(
        context.run / "checkpoints" / "align",
        config.align,
        lambda _: recalls(scorer(caches["val"], token_ids["val"]), val_split.image_index),
        "recall_sum",
        larger_is_better=True,
        seed=config.seed,
        name="align",
        save_seconds=config.compute.save_seconds,
    )

    def batches(part: Part) -> tf.data.Dataset:
        positions = epoch_batches(
            num_pairs,
            config.align.batch_size,
            seed=config.seed,
            epochs=config.align.epochs,
            part=part,
        )
        return recorder.watched(
            alignment_examples(
                positions, caches["train"], token_ids["train"], train_split.image_index
            )
        )

    recorder = record(context, "alignment", num_pairs, steps_per_epoch)
    watch = AlignmentWatch(context, caches["val"], token_ids["val"])
    train(model, batches, steps_per_epoch, progress, [recorder, watch])
    best = progress.history[progress.best_epoch]
    if best["collapsed"] > 0.5:
        print(
            "visem_tf: warning: the alignment has collapsed: all pictures and sentences get the "
            "same score; try a smaller --align.learning_rate",
            file=sys.stderr,
        )
    summary: dict[str, Any] = {
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch + 1,
        **coverage,
        **best,
    }
    if config.align.finetune_epochs:
        summary["finetune"] = finetune.run(context, vocabulary)
    return summary


def load_word_vectors(
    model: AlignmentModel, config: Config, vocabulary: Vocabulary
) -> dict[str, float]:
    """Starts from the word vectors that the configuration names, and says how many words have one.

    Args:
        model: with its weights.
        config: names the file, or none.
        vocabulary: the words, by id.

    Returns:
        "word_vector_coverage_percent", or nothing without a file.

    Raises:
        UserError: the file cannot be used, or its vectors are not as long as `align.word_dim`.
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
    missing = [
        word
        for word, known in zip(vocabulary.words[4:], vectors.known[4:], strict=True)
        if not known
    ]
    rest = f"; without one: {', '.join(missing[:10])}" if missing else ""
    rest += f" and {len(missing) - 10} more" if len(missing) > 10 else ""
    print(
        f"word vectors: {vectors.coverage_percent:.1f} % of {len(vocabulary) - 4} words have "
        f"one{rest}"
    )
    return {"word_vector_coverage_percent": round(vectors.coverage_percent, 2)}
