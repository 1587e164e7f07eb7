"""End of stage align with `infer.hubness_scale`: draws the bank from which hubness is computed.

Only training images and training sentences are used. See `visem_tf.alignment.hubness`.
"""

import numpy as np
import tensorflow as tf

from visem_tf.alignment.hubness import Bank, projections
from visem_tf.alignment.scores import unit_vectors
from visem_tf.alignment.word_scores import get_score
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.saving import load_model
from visem_tf.models.weight_files import write_arrays
from visem_tf.runs.checkpoints import read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.stages.training import open_pairs
from visem_tf.text import PAD_ID, Vocabulary
from visem_tf.training.examples import Pairs

IMAGES = 500
"""Number of images of a bank."""
SENTENCES = 2500
"""Number of sentences of a bank."""
DIM = 64
"""Number of dimensions of projected embeddings."""

_AT_A_TIME = 100


def complete(context: Context) -> None:
    """Draws the bank of a finished run that needs one and has none."""
    if not context.run.bank.exists():
        write(context, read_or_build_vocabulary(context))


def remove(context: Context) -> None:
    """Removes the bank of a run whose alignment will be trained further."""
    if context.is_chief:
        context.run.bank.unlink(missing_ok=True)


def write(context: Context, vocabulary: Vocabulary) -> None:
    """Writes the bank of a run, if its configuration needs one.

    Args:
        context: Context of a run whose alignment is trained.
        vocabulary: Words of the run.
    """
    if not (context.is_chief and context.config.infer.hubness_scale):
        return
    model = load_model(context.run.alignment_model, AlignmentModel)
    pairs = open_pairs(context, vocabulary)["train"]
    bank = draw(model, pairs, np.random.default_rng(context.config.seed))
    write_arrays(context.run.bank, bank._asdict())


def draw(model: AlignmentModel, pairs: Pairs, random: np.random.Generator) -> Bank:
    """Draws a bank of images and sentences.

    Args:
        model: Trained alignment model.
        pairs: Sentences and regions of the training split.
        random: Source of the choice.
    """
    lengths = pairs.token_ids.row_lengths().numpy()
    images = _some(random, np.arange(len(pairs.cache)), IMAGES)
    sentences = _some(random, np.flatnonzero(lengths), SENTENCES)
    unit = get_score(model.score).unit
    embed = unit_vectors if unit else tf.identity

    def blocks(chosen: np.ndarray) -> list[np.ndarray]:
        return np.split(chosen, range(_AT_A_TIME, len(chosen), _AT_A_TIME))

    regions, masks = [], []
    for positions in blocks(images):
        of_images = pairs.cache.gather(positions)
        regions.append(embed(model.encode_regions(tf.constant(of_images.region_features))).numpy())
        masks.append(of_images.region_mask)
    region_embeddings, mask = np.concatenate(regions), np.concatenate(masks)
    words = []
    for positions in blocks(sentences):
        token_ids = tf.gather(pairs.token_ids, positions).to_tensor(PAD_ID)
        words.append(embed(model.encode_sentences(token_ids)).numpy()[token_ids != PAD_ID])
    word_embeddings = np.concatenate(words)
    of_regions, of_words = projections(region_embeddings[mask], word_embeddings, DIM)
    return Bank(
        of_regions,
        of_words,
        region_embeddings @ of_regions,
        mask,
        word_embeddings @ of_words,
        np.repeat(np.arange(len(sentences), dtype=np.int32), lengths[sentences]),
    )


def _some(random: np.random.Generator, among: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of some positions, in ascending order."""
    return np.sort(random.choice(among, min(count, len(among)), replace=False))
