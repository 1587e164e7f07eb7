"""Alignment and generation as one model, which removes the third limit that the paper names."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.generator import SentenceGenerator
from visem_tf.models.global_batch import GlobalBatchModel, apply_global_gradients, replica_count
from visem_tf.text import PAD_ID, with_start_and_end


class JointModel(GlobalBatchModel):
    """Trains the alignment and the generators together, on one region encoder and word vectors.

    Over a batch of B pairs it descends

        C / B + Σ_g weight_g · (the loss of generator g, a mean over words)

    with C the alignment's objective. The generator "full_frame" learns the sentences, "regions" the
    snippets that the alignment cuts them into. Snippets are not differentiated through: their
    regions are numbers that `set_regions` replaces every few epochs. As in the alignment alone,
    gradients times B are clipped element-wise, then divided by B.

    It is trained by `fit` on dictionaries as `AlignmentModel.train_step` takes them, with
    `sentence_ids` int32 [B] beside: the positions of the sentences in the training split. What
    `fit` logs are the alignment's figures, and of each generator "perplexity_" and its name.

    The parts share layers, not copies: build the generators with the alignment's `region_encoder`
    and `word_vectors`. Each part is saved on its own and is then complete.

    Args:
      alignment: built.
      generators: by their names, built; their weights in the objective are `weights`.
      weights: by the same names.
      num_sentences: S, sentences of the training split.
      max_words: words of the longest of them.

    Raises:
      ValueError: a generator does not share the layers, or `weights` has other names.
    """

    def __init__(
        self,
        alignment: AlignmentModel,
        generators: dict[str, SentenceGenerator],
        weights: dict[str, float],
        num_sentences: int,
        max_words: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if set(weights) != set(generators):
            raise ValueError(f"weights must be of {sorted(generators)}, not {sorted(weights)}")
        for name, generator in generators.items():
            if (
                getattr(generator, "region_encoder", None) is not alignment.region_encoder
                or generator.word_vectors is not alignment.sentence_encoder.word_vectors
            ):
                raise ValueError(f"the generator {name} must share the alignment's layers")
        self.alignment = alignment
        self.generators = generators
        self.weights_of_parts = dict(weights)
        # A generator on its own would keep the encoder as it is.
        alignment.region_encoder.trainable = True
        alignment.region_encoder.projection.trainable = True
        self.snippet_regions = self.add_weight(
            shape=(num_sentences, max_words),
            initializer=keras.initializers.Constant(-1),
            dtype="int32",
            trainable=False,
            name="snippet_regions",
        )
        self._perplexities = {
            name: keras.metrics.Mean(name=f"surprise_{name}") for name in generators
        }
        for part in (alignment, *generators.values()):
            part.steps_taken = self.steps_taken  # type: ignore[method-assign]
        self.supports_jit = False
        self.built = True

    def set_regions(self, regions: np.ndarray) -> None:
        """Replaces the alignment that snippets are cut by.

        Args:
          regions: int [S, T], the region of every word of the training split, as of
            `visem_tf.alignment.mrf.smooth_alignment`; -1 in the padding. All -1: there are no
            snippets.
        """
        num_sentences, width = self.snippet_regions.shape
        whole = np.full((num_sentences, width), -1, np.int32)
        whole[:, : regions.shape[1]] = regions
        self.snippet_regions.assign(whole)

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step down the gradient of the joint objective; see the class."""
        data, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss, batch_size = self.alignment.global_loss(data, training=True)
            share = loss / replica_count()
            for name, generator in self.generators.items():
                words, surprise, count = generator.loss_shares(self._batch(name, data), True)
                share += self.weights_of_parts[name] * words * batch_size
                # Every replica logs its share; the sum over them is the mean surprise of a word.
                self._perplexities[name].update_state(surprise * replica_count(), count)
        apply_global_gradients(
            self, tape, share, self.alignment.clip_value, gradient_scale=1 / batch_size
        )
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """The alignment's figures and the generators' perplexities, by their names."""
        results = {metric.name: metric.result() for metric in self.alignment.metrics}
        for name, metric in self._perplexities.items():
            results[f"perplexity_{name}"] = tf.exp(metric.result())
        return results

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What `fit` resets before every epoch."""
        return [*self.alignment.metrics, *self._perplexities.values()]

    def _batch(self, name: str, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What a generator learns from a batch of pairs."""
        features, token_ids = data["region_features"], data["token_ids"]
        if name == "full_frame":
            mask = data.get("region_mask")
            if mask is None:
                mask = tf.ones(tf.shape(features)[:2], tf.bool)
            generator = self.generators[name]
            sentences = tf.RaggedTensor.from_tensor(token_ids, padding=PAD_ID)
            return generator.batch_of(
                generator.inputs_of_pictures(features, mask),
                with_start_and_end(sentences).to_tensor(PAD_ID),
            )
        regions = tf.gather(self.snippet_regions.value, data["sentence_ids"])
        rows, regions, snippets = cut_snippets(token_ids, regions[:, : tf.shape(token_ids)[1]])
        words = with_start_and_end(snippets).to_tensor(PAD_ID)
        missing = tf.maximum(2 - tf.shape(words)[1], 0)  # START and END, where there is no snippet
        return {
            "image_features": tf.gather_nd(features, tf.stack([rows, regions], axis=1)),
            "token_ids": tf.pad(words, [[0, 0], [0, missing]], constant_values=PAD_ID),
        }


def cut_snippets(
    token_ids: tf.Tensor, regions: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.RaggedTensor]:
    """Maximal runs of words with one region, in graph, as `find_segments` finds them in NumPy.

    Args:
      token_ids: int32 [B, T].
      regions: int32 [B, T], -1 where there is no word.

    Returns:
      Of each of M snippets its sentence int32 [M], its region int32 [M] and its words [M, (T)].

    Example:
      >>> rows, regions, words = cut_snippets([[5, 6, 7, 0]], [[4, 4, 9, -1]])
      >>> rows.numpy().tolist(), regions.numpy().tolist(), words.to_list()
      ([0, 0], [4, 9], [[5, 6], [7]])
    """
    places = tf.where(tf.greater_equal(regions, 0))  # [words, 2]
    row = tf.cast(places[:, 0], tf.int32)
    region = tf.gather_nd(regions, places)
    starts = tf.logical_or(row[1:] != row[:-1], region[1:] != region[:-1])
    starts = tf.concat([tf.ones_like(row[:1], tf.bool), starts], axis=0)  # empty where words are
    first = tf.where(starts)[:, 0]
    words = tf.RaggedTensor.from_value_rowids(
        tf.gather_nd(token_ids, places),
        tf.cumsum(tf.cast(starts, tf.int64)) - 1,
        nrows=tf.size(first, tf.int64),
    )
    return tf.gather(row, first), tf.gather(region, first), words
