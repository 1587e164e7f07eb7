"""The fourth stage: trains the generators (section 3.2 of the paper).

One learns whole sentences from whole frames, the other snippets from the regions that the stage
before gave them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from visem_tf.alignment.mrf import find_segments
from visem_tf.models.precision import training_precision
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.report.previews import SentenceWatch, record
from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.generators import (
    GENERATORS,
    build_generator,
    cider_folder,
    member_names,
    member_seed,
    model_of,
    title_of,
)
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.runtime.devices import set_seed
from visem_tf.stages.features import open_cache
from visem_tf.stages.self_critical import fine_tune
from visem_tf.text import Vocabulary
from visem_tf.training.loop import Progress, train
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.pipeline import (
    Part,
    attention_examples,
    caption_examples,
    distributed,
    epoch_batches,
    ordered_batches,
)

ALL_WORKERS = True

_SAMPLE = 2000


class _Texts(NamedTuple):
    """Texts to learn, with the pictures or regions that they describe.

    Attributes:
      token_ids: int32 [S, (T)], without START and END.
      examples: Batches of positions to batches for a training step.
      sample: Some CNN features of what is described, float [N, F].
    """

    token_ids: tf.RaggedTensor
    examples: Callable[[tf.data.Dataset], tf.data.Dataset]
    sample: np.ndarray


def run(context: Context) -> dict[str, Any]:
    """Trains the generators that the configuration asks for."""
    vocabulary = read_or_build_vocabulary(context)
    caches = {split: open_cache(context, split) for split in ("train", "val")}
    wanted = [name for name in GENERATORS if getattr(context.config.generate, name)]
    summary: dict[str, Any] = {}
    if context.config.joint.train:
        print("generate: the generators were trained with the alignment")
        if context.config.generate.cider_epochs:
            tuned = fine_tune(context, caches, vocabulary, "full_frame", context.config.seed)
            summary[cider_folder("full_frame")] = tuned
        return summary
    for name in wanted:
        texts = _sentences if name == "full_frame" else _snippets
        examples = {split: texts(context, split, caches[split], vocabulary) for split in caches}
        if name == "regions":
            summary[name] = _train(context, name, examples, vocabulary, context.config.seed)
            continue
        for number, member in enumerate(member_names(context.config.generate)):
            seed = member_seed(context.config.seed, number)
            summary[member] = _train(context, member, examples, vocabulary, seed)
            if context.config.generate.cider_epochs:
                tuned = fine_tune(context, caches, vocabulary, member, seed)
                summary[cider_folder(member)] = tuned
    return summary


def _sentences(context: Context, split: str, cache: FeatureCache, vocabulary: Vocabulary) -> _Texts:
    """Whole sentences with whole frames, or with all regions for a generator that reads them."""
    data = context.data.splits[split]
    token_ids = sentence_token_ids(vocabulary, data.sentences, context.config.text.max_words)
    if model_of(context.config.generate, "full_frame").reads_regions:
        return _Texts(
            token_ids,
            lambda batches: attention_examples(batches, cache, token_ids, data.image_index),
            cache.sample_features(),
        )
    frames = cache.frame_features()
    return _of_vectors(token_ids, lambda positions: frames[data.image_index[positions]], cache)


def _snippets(context: Context, split: str, cache: FeatureCache, vocabulary: Vocabulary) -> _Texts:
    """Snippets with the vectors of their regions, as the alignment model finds them."""
    data, config = context.data.splits[split], context.config
    sentences = sentence_token_ids(vocabulary, data.sentences, config.text.max_words)
    grounder = Grounder(load_alignment_model(context), vocabulary, config)
    alignment = grounder.ground_split(cache, sentences, data.image_index)
    sentence, first, last, region = find_segments(alignment.regions)
    starts = sentences.row_splits.numpy()[sentence]
    token_ids = tf.ragged.range(starts + first, starts + last + 1)
    token_ids = token_ids.with_flat_values(tf.gather(sentences.flat_values, token_ids.flat_values))
    images = data.image_index[sentence]

    def read(positions: np.ndarray) -> np.ndarray:
        regions = cache.gather(images[positions])
        return regions.region_features[np.arange(len(positions)), region[positions]]

    return _of_vectors(token_ids, read, cache)


def _of_vectors(
    token_ids: tf.RaggedTensor, read: Callable[[np.ndarray], np.ndarray], cache: FeatureCache
) -> _Texts:
    """Texts with a vector each, which `read` gives by position."""
    count, feature_dim = token_ids.shape[0], cache.feature_dim
    return _Texts(
        token_ids,
        lambda batches: caption_examples(batches, read, feature_dim, token_ids),
        read(np.arange(0, count, max(1, count // _SAMPLE))),
    )


def _train(
    context: Context,
    name: str,
    examples: dict[str, _Texts],
    vocabulary: Vocabulary,
    seed: int,
) -> dict[str, Any]:
    config, settings = context.config, context.config.generate
    count = examples["train"].token_ids.shape[0]
    steps_per_epoch = -(-count // settings.batch_size)
    set_seed(seed)
    with context.strategy.scope(), training_precision(config.compute.precision):
        encoder = _region_encoder(context, name)
        model = build_generator(
            config,
            name,
            vocabulary,
            examples["train"].sample,
            encoder,
        )
        model.compile(optimizer=make_optimizer(settings, steps_per_epoch))

    def validation_batches(part: Part) -> tf.data.Dataset:
        texts = examples["val"]
        positions = ordered_batches(texts.token_ids.shape[0], settings.batch_size, part)
        return texts.examples(positions)

    def validate(model: keras.Model) -> dict[str, float]:
        dataset = distributed(context.strategy, validation_batches)
        steps = -(-examples["val"].token_ids.shape[0] // settings.batch_size)
        figures = model.evaluate(dataset, steps=steps, verbose=0, return_dict=True)
        return {"val_perplexity": figures["perplexity"]}

    progress = Progress(
        context.run / "checkpoints" / "generate" / name,
        settings,
        validate,
        "val_perplexity",
        larger_is_better=False,
        seed=seed,
        name=f"generate {name}",
        save_seconds=config.compute.save_seconds,
    )

    def batches(part: Part) -> tf.data.Dataset:
        positions = epoch_batches(
            count,
            settings.batch_size,
            seed=seed,
            epochs=settings.epochs,
            part=part,
            lengths=examples["train"].token_ids.row_lengths().numpy(),
            bucket_batches=settings.bucket_batches,
        )
        return recorder.watched(examples["train"].examples(positions))

    recorder = record(context, title_of(name), count, steps_per_epoch)
    watch = SentenceWatch(context, name, open_cache(context, "val"), vocabulary)
    train(model, batches, steps_per_epoch, progress, [recorder, watch])
    best = progress.history[progress.best_epoch]
    return {
        "texts": count,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch + 1,
        **best,
    }


def _region_encoder(context: Context, name: str) -> RegionEncoder | None:
    """The alignment model's, if its embeddings are what the generator attends to."""
    settings = context.config.generate
    if settings.attend_to != "embeddings" or not model_of(settings, name).reads_regions:
        return None
    return load_alignment_model(context).region_encoder
