"""Training on a score of whole sentences: self-critical training (Rennie and others, 2017).

    gradient = − Σ_samples (r(w) − b) ∇ log p(w)        w drawn from the model, r its score

The likelihood of the next word is not what captions are judged by, and in training the words before
it are always people's. Here the model reads its own words, and sentences that score above the
baseline b become likelier. With one sample a picture b is the score of the greedy sentence, as in
that paper; with several, the mean of the picture's other samples (Luo, 2020), which needs no
greedy search and varies less.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.decoding.greedy import greedy_search
from visem_tf.decoding.sampling import sample_sentences
from visem_tf.models.global_batch import GlobalBatchModel, all_reduce_sum, apply_global_gradients
from visem_tf.models.sentence_generator import SentenceGenerator
from visem_tf.text import START_ID

Reward = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Sentences int [N, L] (the words, END, PAD) and their pictures int [N] to scores float [N]."""


class Seeds(keras.layers.Layer):
    """Gives the seeds of draws; they are reset with those of dropout, and so resume exactly."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def next(self) -> tf.Tensor:
        """A new seed, int32 [2]."""
        return tf.bitcast(tf.cast(self.seed_generator.next(), tf.uint32), tf.int32)


class SelfCritical(GlobalBatchModel):
    """Fine-tunes a generator on a score of its own sentences.

    It is trained by `fit` on dictionaries with `region_features` float [B, R, F], `region_mask`
    bool [B, R] and `pictures` int32 [B], which the reward knows. Saving it saves the generator.

    Dropout is off, so that samples are drawn from what is trained. The loss is a mean over the
    drawn words of the global batch; gradients are summed over replicas, then clipped.

    Args:
      generator: A trained one.
      reward: Scores sentences.
      samples: K, sentences drawn for every picture.
      max_length: L, the largest number of tokens, END counted.
    """

    def __init__(
        self,
        generator: SentenceGenerator,
        reward: Reward,
        samples: int,
        max_length: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generator = generator
        self.reward = reward
        self.samples = samples
        self.max_length = max_length
        self.seeds = Seeds()
        self.supports_jit = False
        self._loss_mean = keras.metrics.Mean(name="loss")
        self._reward_mean = keras.metrics.Mean(name="reward")
        self.built = True

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step of the optimizer; see the class for `data`."""
        inputs = self.generator.inputs_of_pictures(data["region_features"], data["region_mask"])
        token_ids, advantages, rewards = self._draw(inputs, data["pictures"])
        repeated = tf.nest.map_structure(
            lambda tensor: tf.repeat(tensor, self.samples, axis=0), inputs
        )
        starts = tf.fill([tf.shape(token_ids)[0], 1], START_ID)
        batch = self.generator.batch_of(repeated, tf.concat([starts, token_ids], axis=1))
        with tf.GradientTape() as tape:
            logits, targets, _ = self.generator.logits_of_targets(batch, training=False)
            surprise = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=targets.ids, logits=logits
            )
            count = all_reduce_sum(tf.cast(tf.size(surprise), surprise.dtype))
            of_words = tf.gather(tf.cast(advantages, surprise.dtype), targets.places[:, 1])
            loss_share = tf.reduce_sum(of_words * surprise) / tf.maximum(count, 1.0)
        apply_global_gradients(self, tape, loss_share, self.generator.clip_value)
        sums = tf.stack([tf.reduce_sum(rewards), tf.cast(tf.size(rewards), rewards.dtype)])
        total, drawn = tf.unstack(all_reduce_sum(sums))
        self._loss_mean.update_state(all_reduce_sum(loss_share), sample_weight=count)
        self._reward_mean.update_state(total / tf.maximum(drawn, 1.0), sample_weight=drawn)
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Running `loss`, and `reward` of the samples."""
        return [self._loss_mean, self._reward_mean]

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the generator."""
        self.generator.save(filepath, *args, **kwargs)

    def _draw(self, inputs: Any, pictures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Sentences int32 [B K, L], their scores less the baseline, and their scores [B K]."""
        token_ids = sample_sentences(
            self.generator, inputs, self.samples, self.max_length, seed=self.seeds.next()
        )
        token_ids = tf.reshape(token_ids, [-1, self.max_length])
        rewards = self._score(token_ids, tf.repeat(pictures, self.samples))
        if self.samples == 1:
            greedy, _ = greedy_search(self.generator, inputs, self.max_length)
            return token_ids, rewards - self._score(greedy, pictures), rewards
        by_picture = tf.reshape(rewards, [-1, self.samples])
        others = tf.reduce_sum(by_picture, axis=1, keepdims=True) - by_picture
        advantages = by_picture - others / (self.samples - 1)
        return token_ids, tf.reshape(advantages, [-1]), rewards

    def _score(self, token_ids: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
        def score(token_ids: np.ndarray, pictures: np.ndarray) -> np.ndarray:
            return np.asarray(self.reward(token_ids, pictures), np.float32)

        scores = tf.numpy_function(score, [token_ids, pictures], tf.float32)
        return tf.ensure_shape(scores, [None])
