"""Stage generate: trains the generators (section 3.2).

The full-frame generator learns whole sentences from whole images, the region generator learns the
snippets of the stage infer from their regions.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.models.generator import SentenceGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.report.previews import CaptionPreview
from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.generators import (
    build_generator,
    member_names,
    member_seed,
    model_of,
    title_of,
)
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.model_files import cider_folder
from visem_tf.runs.snippets import SnippetCutter, require_snippets
from visem_tf.runs.starting import start_generator
from visem_tf.runtime.workers import barrier, broadcast_rows_from_chief
from visem_tf.stages.features import mirrored_cache, open_cache
from visem_tf.stages.self_critical import fine_tune
from visem_tf.stages.training import open_pairs, train_model
from visem_tf.text import Vocabulary
from visem_tf.training.batches import Part, distributed, epoch_batches, ordered_batches
from visem_tf.training.examples import Pairs, attention_examples, caption_examples
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.resumable import Validation

ALL_WORKERS = True

_SAMPLE = 2000
"""Approximate number of feature vectors in a sample."""


@dataclass(frozen=True)
class Texts:
    """Texts of a split, and the images or regions that they describe.

    Attributes:
        token_ids: Token ids of the texts without START and END, int32 [S, (T)].
        examples: Maps batches of positions to batches of training examples.
        sample: CNN features of some of the images or regions, float [N, F].
        draws: Number of random numbers that `examples` needs with every position.
    """

    token_ids: tf.RaggedTensor
    examples: Callable[[tf.data.Dataset], tf.data.Dataset]
    sample: np.ndarray
    draws: int = 0

    def __len__(self) -> int:
        return int(self.token_ids.shape[0])


def run(context: Context) -> dict[str, Any]:
    """Trains the generators that the configuration names."""
    config, settings = context.config, context.config.generate
    vocabulary = read_or_build_vocabulary(context)
    pairs = open_pairs(context, vocabulary)
    summary: dict[str, Any] = {}
    if config.joint.train and context.is_chief:
        print("generate: the generators were trained with the alignment")
    if settings.full_frame:
        mirrored = mirrored_cache(context, tuned=True) if settings.mirror else None
        texts = {
            "train": sentence_texts(context, pairs["train"], mirrored),
            "val": sentence_texts(context, pairs["val"]),
        }
        for number, name in enumerate(member_names(settings)):
            seed = member_seed(config.seed, number)
            if not config.joint.train:
                summary[name] = _train(context, name, texts, vocabulary, seed)
            if settings.cider_epochs:
                summary[cider_folder(name)] = fine_tune(context, pairs, vocabulary, name, seed)
    if settings.regions and not config.joint.train:
        cut = SnippetCutter(vocabulary, config.infer, pairs["train"].token_ids)
        texts = {split: _snippets(context, pairs[split], vocabulary, cut) for split in pairs}
        summary["regions"] = _train(context, "regions", texts, vocabulary, config.seed)
    return summary


def _forget_tuned(context: Context, name: str) -> None:
    """Removes the generator that was trained on CIDEr from this one."""
    if context.is_chief:
        folder = context.run / "checkpoints" / "generate" / cider_folder(name)
        shutil.rmtree(folder, ignore_errors=True)
    barrier(context.strategy)


def sentence_texts(context: Context, pairs: Pairs, mirrored: FeatureCache | None = None) -> Texts:
    """Pairs sentences with whole frames, or with all regions if the generator reads regions.

    Args:
        context: Context of the run.
        pairs: Sentences and regions of a split.
        mirrored: Regions of the mirror images; None if they are not used.
    """
    cache, token_ids, image_index = pairs
    views = [cache] if mirrored is None else [cache, mirrored]
    draws = 0 if mirrored is None else 1
    if model_of(context.config.generate, "full_frame").reads_regions:
        return Texts(
            token_ids,
            lambda batches: attention_examples(batches, pairs, mirrored),
            cache.sample_features(),
            draws,
        )
    frames = np.concatenate([view.frame_features() for view in views])
    rows = np.concatenate([image_index + number * len(cache) for number in range(len(views))])
    return _of_vectors(token_ids, lambda chosen: frames[rows[chosen]], cache, draws)


def _snippets(context: Context, pairs: Pairs, vocabulary: Vocabulary, cut: SnippetCutter) -> Texts:
    """Pairs snippets with the regions that the alignment model finds for them."""
    cache, sentences, image_index = pairs
    grounder = Grounder(load_alignment_model(context), vocabulary, context.config)
    snippets = cut(grounder.ground_split(*pairs), sentences)
    require_snippets(snippets)
    # The chief's: of scores that differ by rounding, another processor may prefer another region,
    # and workers must train with the same examples.
    found = broadcast_rows_from_chief(context.strategy, np.stack(snippets[:4], axis=1))
    sentence, first, last, region = found.T
    starts = sentences.row_splits.numpy()[sentence]
    token_ids = tf.ragged.range(starts + first, starts + last + 1)
    token_ids = token_ids.with_flat_values(tf.gather(sentences.flat_values, token_ids.flat_values))
    images = image_index[sentence]

    return _of_vectors(
        token_ids, lambda chosen: cache.gather_vectors(images[chosen], region[chosen]), cache
    )


def _of_vectors(
    token_ids: tf.RaggedTensor,
    read: Callable[[np.ndarray], np.ndarray],
    cache: FeatureCache,
    draws: int = 0,
) -> Texts:
    """Pairs each text with one feature vector; `read` returns those at some positions."""
    count, feature_dim = token_ids.shape[0], cache.feature_dim
    return Texts(
        token_ids,
        lambda batches: caption_examples(batches, read, feature_dim, token_ids, mirrored=draws > 0),
        read(np.arange(0, count, max(1, count // _SAMPLE))),
        draws,
    )


def _train(
    context: Context, name: str, texts: dict[str, Texts], vocabulary: Vocabulary, seed: int
) -> dict[str, Any]:
    """Trains a generator on the texts of the splits train and val."""
    config, settings = context.config, context.config.generate
    train = texts["train"]

    def build(steps_per_epoch: int) -> SentenceGenerator:
        encoder = _region_encoder(context, name)
        model = build_generator(config, name, vocabulary, train.sample, encoder)
        start_generator(config, name, model, vocabulary)
        model.compile(optimizer=make_optimizer(settings, steps_per_epoch))
        return model

    def make_dataset(part: Part) -> tf.data.Dataset:
        positions = epoch_batches(
            len(train),
            settings.batch_size,
            seed=seed,
            epochs=settings.epochs,
            part=part,
            lengths=train.token_ids.row_lengths().numpy(),
            bucket_batches=settings.bucket_batches,
            draws=train.draws,
        )
        return train.examples(positions)

    summary = train_model(
        context,
        title_of(name),
        f"generate/{name}",
        settings=settings,
        seed=seed,
        num_examples=len(train),
        build=build,
        make_dataset=make_dataset,
        make_validation=lambda model: perplexity_validation(context, model, texts["val"]),
        monitor="val_perplexity",
        # What was trained on CIDEr from this generator does not belong to a longer training.
        before_epoch=lambda model, epoch: _forget_tuned(context, name),
        precision=config.compute.precision,
        callbacks=[CaptionPreview(context, name, open_cache(context, "val"), vocabulary)],
    )
    return {"texts": len(train), **summary}


def perplexity_validation(context: Context, model: SentenceGenerator, texts: Texts) -> Validation:
    """Makes the function that computes the perplexity of a compiled generator on some texts."""
    batch_size = context.config.generate.batch_size
    steps = -(-len(texts) // batch_size)

    def batches(part: Part) -> tf.data.Dataset:
        return texts.examples(ordered_batches(len(texts), batch_size, part))

    def validate() -> dict[str, float]:
        dataset = distributed(context.strategy, batches)
        metrics = model.evaluate(dataset, steps=steps, verbose=0, return_dict=True)
        return {"val_perplexity": metrics["perplexity"]}

    return validate


def _region_encoder(context: Context, name: str) -> RegionEncoder | None:
    """Returns the region encoder of the alignment if the generator attends to its embeddings."""
    settings = context.config.generate
    if settings.attend_to != "embeddings" or not model_of(settings, name).reads_regions:
        return None
    return load_alignment_model(context).region_encoder
