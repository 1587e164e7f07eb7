"""Alignment and generators trained as one model, in place of the stages align and generate.

The parts share the region encoder and the word vectors. Every few epochs the alignment of the day
cuts the training sentences into snippets anew. Every part is saved where its own stage would save
it, so that whatever comes after knows no difference.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.joint_model import JointModel
from visem_tf.models.saving import save_model
from visem_tf.models.sentence_generator import SentenceGenerator
from visem_tf.report.previews import record
from visem_tf.runs.checkpoints import build_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.generators import GENERATORS, build_generator
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.scoring import Scorer, recalls, sentence_token_ids
from visem_tf.runtime.devices import set_seed
from visem_tf.stages.align import load_word_vectors
from visem_tf.stages.features import open_cache
from visem_tf.text import Vocabulary
from visem_tf.training.loop import Progress, Validation, train
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.pipeline import (
    Part,
    alignment_examples,
    attention_examples,
    epoch_batches,
    ordered_batches,
)

ALL_WORKERS = True


class _JointProgress(Progress):
    """Cuts snippets anew every few epochs, and saves the parts each in its own place."""

    def __init__(
        self,
        context: Context,
        validate: Validation,
        infer: Callable[[], np.ndarray],
    ) -> None:
        config = context.config
        super().__init__(
            context.run / "checkpoints" / "align",
            config.align,
            validate,
            config.joint.monitor,
            larger_is_better=config.joint.monitor == "recall_sum",
            seed=config.seed,
            name="joint",
        )
        self.generators_folder = context.run / "checkpoints" / "generate"
        self.every = config.joint.reinfer_every
        self.infer = infer

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Also replaces the snippets, from the second round on."""
        super().on_epoch_begin(epoch, logs)
        if epoch and epoch % self.every == 0:
            self.model.set_regions(self.infer())

    def save_best(self) -> None:
        """Saves every part; the alignment last, which tells that the others are there."""
        for name, generator in self.model.generators.items():
            save_model(generator, self.generators_folder / name / "best.keras")
        save_model(self.model.alignment, self.best_path)


def run(context: Context) -> dict[str, Any]:
    """Trains all parts; the epoch with the best figure of `joint.monitor` is kept, of all."""
    config, data = context.config, context.data
    vocabulary = read_or_build_vocabulary(context)
    caches = {split: open_cache(context, split) for split in ("train", "val")}
    token_ids = {
        split: sentence_token_ids(vocabulary, data.splits[split].sentences, config.text.max_words)
        for split in caches
    }
    train_split, val_split = data.splits["train"], data.splits["val"]
    num_pairs = len(train_split.sentences)
    steps_per_epoch = -(-num_pairs // config.align.batch_size)
    set_seed(config.seed)
    with context.strategy.scope():
        alignment = build_alignment_model(config, vocabulary, caches["train"], steps_per_epoch)
        coverage = load_word_vectors(alignment, config, vocabulary)
        model = _joined(
            alignment,
            config,
            vocabulary,
            sample=caches["train"].sample_features(),
            shape=(num_pairs, int(token_ids["train"].bounding_shape()[1])),
        )
        model.compile(optimizer=make_optimizer(config.align, steps_per_epoch))
    scorer = Scorer(alignment)
    sentences = attention_examples(
        ordered_batches(len(val_split.sentences), config.align.batch_size),
        caches["val"],
        token_ids["val"],
        val_split.image_index,
    )
    perplexity = _Perplexity(model.generators.get("full_frame"), sentences)

    def validate(model: keras.Model) -> dict[str, float]:
        scores = scorer(caches["val"], token_ids["val"])
        return {**recalls(scores, val_split.image_index), **perplexity()}

    grounder = Grounder(alignment, vocabulary, config)
    progress = _JointProgress(
        context,
        validate,
        lambda: (
            grounder.ground_split(
                caches["train"], token_ids["train"], train_split.image_index
            ).regions
        ),
    )

    def batches(part: Part) -> tf.data.Dataset:
        positions = epoch_batches(
            num_pairs,
            config.align.batch_size,
            seed=config.seed,
            epochs=config.align.epochs,
            part=part,
        )
        return alignment_examples(
            positions, caches["train"], token_ids["train"], train_split.image_index
        )

    recorder = record(context, "joint", num_pairs, steps_per_epoch)
    train(model, batches, steps_per_epoch, progress, [recorder])
    return {
        "joint": True,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch + 1,
        **coverage,
        **progress.history[progress.best_epoch],
    }


def _joined(
    alignment: AlignmentModel,
    config: Config,
    vocabulary: Vocabulary,
    *,
    sample: np.ndarray,
    shape: tuple[int, int],
) -> JointModel:
    """The joint model around a built alignment; `shape` is sentences and words of the longest."""
    weights = {
        "full_frame": config.joint.sentences_weight,
        "regions": config.joint.snippets_weight,
    }
    generators = {
        name: build_generator(
            config,
            name,
            vocabulary,
            sample,
            alignment.region_encoder,
            alignment.sentence_encoder.word_vectors,
        )
        for name in GENERATORS
        if getattr(config.generate, name)
    }
    return JointModel(alignment, generators, {name: weights[name] for name in generators}, *shape)


class _Perplexity:
    """Of a generator on the sentences of a split."""

    def __init__(self, generator: SentenceGenerator | None, examples: tf.data.Dataset) -> None:
        self.generator = generator
        self.examples = examples
        self._surprise = tf.function(self._surprise_of_batch, reduce_retracing=True)

    def __call__(self) -> dict[str, float]:
        """The figure, or nothing without a generator."""
        if self.generator is None:
            return {}
        total = count = 0.0
        for batch in self.examples:
            mean, words = self._surprise(batch)
            total += float(mean * words)
            count += float(words)
        return {"val_perplexity": float(np.exp(total / max(count, 1.0)))}

    def _surprise_of_batch(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        assert self.generator is not None
        inputs = self.generator.inputs_of_pictures(batch["region_features"], batch["region_mask"])
        _, surprise, count = self.generator.loss_shares(
            self.generator.batch_of(inputs, batch["token_ids"]), training=False
        )
        return surprise, count
