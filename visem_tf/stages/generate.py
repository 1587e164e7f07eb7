"""The fourth stage: trains the generators (section 3.2 of the paper).

One learns whole sentences from whole frames, the other snippets from the regions that the stage
before gave them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.distribution import set_seed
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.mrf import find_segments
from visem_tf.regions.cache import FeatureCache
from visem_tf.stages import Context
from visem_tf.stages.align import load_model, read_or_build_vocabulary
from visem_tf.stages.features import open_cache
from visem_tf.stages.infer import align_split
from visem_tf.stages.scoring import sentence_token_ids
from visem_tf.text import Vocabulary
from visem_tf.training.loop import Progress, train
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.pipeline import caption_examples, epoch_batches, ordered_batches

GENERATORS = ("full_frame", "regions")
"""The names of the two generators: fields of the configuration, and folders of checkpoints."""


_SAMPLE = 2000


class _Texts(NamedTuple):
    """Texts to learn, with the vectors that they describe.

    Attributes:
      token_ids: int32 [S, (T)], without START and END.
      read_features: positions int [B] to vectors float32 [B, F].
    """

    token_ids: tf.RaggedTensor
    read_features: Callable[[np.ndarray], np.ndarray]


def run(context: Context) -> dict[str, Any]:
    """Trains the generators that the configuration asks for."""
    vocabulary = read_or_build_vocabulary(context)
    caches = {split: open_cache(context, split) for split in ("train", "val")}
    wanted = [name for name in GENERATORS if getattr(context.config.generate, name)]
    summary = {}
    for name in wanted:
        texts = _sentences if name == "full_frame" else _snippets
        examples = {split: texts(context, split, caches[split], vocabulary) for split in caches}
        summary[name] = _train(context, name, examples, vocabulary, caches["train"].feature_dim)
    return summary


def load_generator(context: Context, name: str) -> CaptionGenerator | None:
    """The best model of a finished generator; None if the run has none of that name."""
    path = context.run / "checkpoints" / "generate" / name / "best.keras"
    if not path.exists():
        return None
    model = keras.saving.load_model(path, compile=False)
    assert isinstance(model, CaptionGenerator)
    return model


def _sentences(context: Context, split: str, cache: FeatureCache, vocabulary: Vocabulary) -> _Texts:
    """Whole sentences with the vectors of whole frames."""
    data = context.data.splits[split]
    token_ids = sentence_token_ids(vocabulary, data.sentences, context.config.text.max_words)
    frames = cache.frame_features()
    return _Texts(token_ids, lambda positions: frames[data.image_index[positions]])


def _snippets(context: Context, split: str, cache: FeatureCache, vocabulary: Vocabulary) -> _Texts:
    """Snippets with the vectors of their regions, as the alignment model finds them."""
    data, config = context.data.splits[split], context.config
    sentences = sentence_token_ids(vocabulary, data.sentences, config.text.max_words)
    alignment = align_split(load_model(context), cache, sentences, data.image_index, config)
    sentence, first, last, region = find_segments(alignment.regions)
    starts = sentences.row_splits.numpy()[sentence]
    token_ids = tf.ragged.range(starts + first, starts + last + 1)
    token_ids = token_ids.with_flat_values(tf.gather(sentences.flat_values, token_ids.flat_values))
    images = data.image_index[sentence]

    def read(positions: np.ndarray) -> np.ndarray:
        regions = cache.gather(images[positions])
        return regions.region_features[np.arange(len(positions)), region[positions]]

    return _Texts(token_ids, read)


def _train(
    context: Context,
    name: str,
    examples: dict[str, _Texts],
    vocabulary: Vocabulary,
    feature_dim: int,
) -> dict[str, Any]:
    config, settings = context.config, context.config.generate
    count = examples["train"].token_ids.shape[0]
    steps_per_epoch = -(-count // settings.batch_size)
    set_seed(config.seed)
    with context.strategy.scope():
        sample = examples["train"].read_features(np.arange(0, count, max(1, count // _SAMPLE)))
        model = build_generator(config, vocabulary, sample)
        model.compile(optimizer=make_optimizer(settings, steps_per_epoch))

    def validate(model: keras.Model) -> dict[str, float]:
        texts = examples["val"]
        batches = ordered_batches(texts.token_ids.shape[0], settings.batch_size)
        dataset = caption_examples(batches, texts.read_features, feature_dim, texts.token_ids)
        return {
            "val_perplexity": model.evaluate(dataset, verbose=0, return_dict=True)["perplexity"]
        }

    progress = Progress(
        context.run / "checkpoints" / "generate" / name,
        settings,
        validate,
        "val_perplexity",
        larger_is_better=False,
        seed=config.seed,
        name=f"generate {name}",
    )

    def batches(first_epoch: int) -> tf.data.Dataset:
        texts = examples["train"]
        positions = epoch_batches(
            count,
            settings.batch_size,
            seed=config.seed,
            first_epoch=first_epoch,
            epochs=settings.epochs,
        )
        return caption_examples(positions, texts.read_features, feature_dim, texts.token_ids)

    log_dir = context.run / "tensorboard" / "generate" / name
    train(model, batches, steps_per_epoch, progress, log_dir)
    best = progress.history[progress.best_epoch]
    return {
        "texts": count,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch + 1,
        **best,
    }


def build_generator(config: Config, vocabulary: Vocabulary, sample: np.ndarray) -> CaptionGenerator:
    """An untrained generator, with its weights, for features like those of the sample [N, F]."""
    settings = config.generate
    model = CaptionGenerator(
        len(vocabulary),
        hidden_dim=settings.hidden_dim,
        word_dim=settings.word_dim,
        dropout=settings.dropout,
        image_dropout=settings.image_dropout,
        feature_scale=settings.feature_scale,
        clip_value=settings.clip_value,
    )
    model.build({"image_features": (None, sample.shape[1]), "token_ids": (None, None)})
    if settings.centre_features:
        model.scaling.adapt(sample)
    return model
