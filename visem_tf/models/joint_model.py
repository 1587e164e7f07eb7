"""Alignment and generation as one model; the paper trains them separately (section 4.4)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.generator import SentenceGenerator
from visem_tf.models.global_batch import GlobalBatchModel, apply_global_gradients, replica_count
from visem_tf.text import PAD_ID, with_start_and_end


class JointModel(GlobalBatchModel):
    """Trains alignment and generators together, with shared region encoder and word vectors.

    Over a batch of B pairs, it minimises

        C / B + Σ_g weight_g · (loss of generator g, a mean over words)

    where C is the objective of the alignment. The generator "full_frame" learns the sentences, and
    "regions" the text segments of the alignment. The segmentation is not differentiated: the
    regions of words are constants that `set_regions` replaces every few epochs. As in the alignment
    alone, gradients times B are clipped element-wise, then divided by B.

    `fit` takes the dictionaries of `AlignmentModel.train_step` with `sentence_ids`, int32 [B]: the
    positions of the sentences in the training split. The metrics are those of the alignment and
    "perplexity_" with the name of each generator.

    The parts share layers: create the generators with the `region_encoder` and the `word_vectors`
    of the alignment. Each part is saved on its own, complete.

    Args:
        alignment: Built alignment model.
        generators: Built generators by their names.
        weights: Weights of the generators in the objective, by the same names.
        num_sentences: Number of sentences S of the training split.
        max_words: Number of words of the longest sentence.

    Raises:
        ValueError: If a generator does not share the layers, or `weights` has other names.
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
                generator.region_encoder is not alignment.region_encoder
                or generator.word_vectors is not alignment.sentence_encoder.word_vectors
            ):
                raise ValueError(f"the generator {name} must share the layers of the alignment")
        self.alignment = alignment
        self.generators = generators
        self.weights_of_parts = dict(weights)
        # An attention generator freezes its region encoder.
        for layer in (alignment.region_encoder, *alignment.region_encoder.projections):
            layer.trainable = True
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
        alignment.steps_taken = self.steps_taken  # type: ignore[method-assign]
        self.supports_jit = False
        self.built = True

    def set_regions(self, regions: np.ndarray) -> None:
        """Replaces the alignment that defines the text segments.

        Args:
            regions: Region of every word of the training split, int array [S, T], as returned by
                `visem_tf.smooth_alignment` or `visem_tf.alignment.snippets.regions_of_snippets`; -1
                for words outside of segments. If all are -1, there are no segments.
        """
        whole = np.full(self.snippet_regions.shape, -1, np.int32)
        whole[:, : regions.shape[1]] = regions
        self.snippet_regions.assign(whole)

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes one step along the gradient of the joint objective; see the class."""
        data, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss, batch_size = self.alignment.global_loss(data, training=True)
            share = loss / replica_count()
            for name, generator in self.generators.items():
                words, surprise, count = generator.loss_shares(self._batch(name, data), True)
                share += self.weights_of_parts[name] * words * batch_size
                # The sum over the replicas is the mean negative log-likelihood of a word.
                self._perplexities[name].update_state(surprise * replica_count(), count)
        apply_global_gradients(
            self, tape, share, self.alignment.clip_value, gradient_scale=1 / batch_size
        )
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """Returns the metrics of the alignment and the perplexities of the generators."""
        results = {metric.name: metric.result() for metric in self.alignment.metrics}
        for name, metric in self._perplexities.items():
            results[f"perplexity_{name}"] = tf.exp(metric.result())
        return results

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that `fit` resets before every epoch."""
        return [*self.alignment.metrics, *self._perplexities.values()]

    def _batch(self, name: str, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The batch of a generator, from a batch of pairs."""
        features, token_ids = data["region_features"], data["token_ids"]
        if name == "full_frame":
            generator = self.generators[name]
            sentences = tf.RaggedTensor.from_tensor(token_ids, padding=PAD_ID)
            return generator.batch_of(
                generator.inputs_of_images(features, data.get("region_mask")),
                with_start_and_end(sentences).to_tensor(PAD_ID),
            )
        regions = tf.gather(self.snippet_regions.value, data["sentence_ids"])
        rows, regions, snippets = cut_snippets(token_ids, regions[:, : tf.shape(token_ids)[1]])
        words = with_start_and_end(snippets).to_tensor(PAD_ID)
        missing = tf.maximum(2 - tf.shape(words)[1], 0)  # START and END, if there is no segment
        return {
            "image_features": tf.gather_nd(features, tf.stack([rows, regions], axis=1)),
            "token_ids": tf.pad(words, [[0, 0], [0, missing]], constant_values=PAD_ID),
        }


def cut_snippets(
    token_ids: tf.Tensor, regions: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.RaggedTensor]:
    """Finds maximal runs of words with one region: `find_segments` in a graph.

    Args:
        token_ids: Int32 tensor [B, T].
        regions: Region of every word, int32 tensor [B, T]; -1 for words outside of segments.

    Returns:
        Sentence [M], region [M] and words [M, (T)] of every segment, int32.

    Example:
        >>> rows, regions, words = cut_snippets([[5, 6, 7, 0]], [[4, 4, 9, -1]])
        >>> rows.numpy().tolist(), regions.numpy().tolist(), words.to_list()
        ([0, 0], [4, 9], [[5, 6], [7]])
    """
    places = tf.where(tf.greater_equal(regions, 0))  # [words, 2]
    row = tf.cast(places[:, 0], tf.int32)
    region = tf.gather_nd(regions, places)
    follows = places[1:, 1] == places[:-1, 1] + 1
    starts = (row[1:] != row[:-1]) | (region[1:] != region[:-1]) | ~follows
    starts = tf.concat([tf.ones_like(row[:1], tf.bool), starts], axis=0)  # or empty
    first = tf.where(starts)[:, 0]
    words = tf.RaggedTensor.from_value_rowids(
        tf.gather_nd(token_ids, places),
        tf.cumsum(tf.cast(starts, tf.int64)) - 1,
        nrows=tf.size(first, tf.int64),
    )
    return tf.gather(row, first), tf.gather(region, first), words
