"""The second stage: trains the alignment of words and regions (section 3.1 of the paper)."""

import importlib
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.models import saving as keras_files
from visem_tf.models.alignment_model import SENTENCE_ENCODERS, AlignmentModel
from visem_tf.models.precision import training_precision
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.word_vectors import fill_in, read_word_vectors
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.report.previews import AlignmentWatch, record
from visem_tf.runs.scoring import Scorer, recalls, sentence_token_ids
from visem_tf.runtime.devices import set_seed
from visem_tf.stages import Context
from visem_tf.stages.features import open_cache
from visem_tf.text import Vocabulary
from visem_tf.training.loop import Progress, train
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.pipeline import Part, alignment_examples, epoch_batches

ALL_WORKERS = True


def run(context: Context) -> dict[str, Any]:
    """Trains the model; the epoch that ranks the validation split best is kept."""
    config, data = context.config, context.data
    if config.joint.train:
        # Both stages inside this one build on it, hence the imports in functions.
        joint: dict[str, Any] = importlib.import_module("visem_tf.stages.joint").run(context)
        return joint
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
        model = build_model(config, vocabulary, caches["train"], steps_per_epoch)
        coverage = load_word_vectors(model, config, vocabulary)
        model.compile(optimizer=make_optimizer(config.align, steps_per_epoch))
    scorer = Scorer(model, caches["val"].num_regions, caches["val"].feature_dim)
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
        finetune = importlib.import_module("visem_tf.stages.finetune")
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


def read_or_build_vocabulary(context: Context) -> Vocabulary:
    """The run's vocabulary; from the training split if the run has none yet."""
    path = context.run / "vocabulary.txt"
    if not path.exists():
        sentences = context.data.splits["train"].sentences
        vocabulary = Vocabulary.build(sentences, context.config.text.min_count)
        if len(vocabulary) == len(Vocabulary.build([])):
            raise UserError(
                f"no word stands {context.config.text.min_count} times or more in the training "
                "sentences; lower --text.min_count"
            )
        if not context.is_chief:
            return vocabulary
        vocabulary.save(path)
    return Vocabulary.load(path)


def load_model(context: Context) -> AlignmentModel:
    """The best model of the finished stage."""
    return keras_files.load_model(context.run.alignment_model, AlignmentModel)


def build_model(
    config: Config, vocabulary: Vocabulary, cache: FeatureCache, steps_per_epoch: int = 1
) -> AlignmentModel:
    """The untrained model, with its weights, for features as the cache has them.

    Args:
      config: Of the run.
      vocabulary: The words of its sentences.
      cache: The regions of its pictures.
      steps_per_epoch: Batches of an epoch, by which a warm-up of the loss is counted.
    """
    settings = config.align
    model = AlignmentModel(
        RegionEncoder(
            settings.embedding_dim,
            dropout=settings.dropout_regions,
            feature_scale=settings.feature_scale,
        ),
        SENTENCE_ENCODERS[settings.encoder](
            len(vocabulary),
            settings.embedding_dim,
            settings.hidden_dim,
            word_dim=settings.word_dim,
            dropout=settings.dropout_words,
            dropout_hidden=settings.dropout_hidden,
            train_words=settings.train_words,
        ),
        margin=settings.margin,
        score=settings.score,
        normalise_by_length=settings.normalise_by_length,
        clip_value=settings.clip_value,
        sharpness=settings.sharpness,
        loss=settings.loss,
        temperature=settings.temperature,
        hinge_sum_steps=settings.hinge_warmup_epochs * steps_per_epoch,
    )
    model.build(
        {
            "region_features": (None, cache.num_regions, cache.feature_dim),
            "token_ids": (None, None),
        }
    )
    if settings.centre_features:
        model.region_encoder.scaling.adapt(cache.sample_features())
    return model
