"""Self-critical training on a score of whole sentences (Rennie et al., 2017); not in the paper.

    gradient = -Σ_samples (r(w) - b) ∇ log p(w),   w sampled from the model, r its score

Cross-entropy differs from the metrics of captions, and conditions on the words of people. Here the
model conditions on its own words, and sentences that score above the baseline b become likelier.
With one sample for each image, b is the score of the greedy sentence, as in that paper; with
several, it is the mean score of the other samples of the image (Luo, 2020), which needs no greedy
search and has less variance.

The model p may be sharpened by a temperature below 1, by which its logits are divided. Its samples
then resemble the sentences that a search finds, so that their scores say more about these.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.decoding.greedy import greedy_search
from visem_tf.decoding.sampling import sample_sentences
from visem_tf.models.generator import SentenceGenerator
from visem_tf.models.global_batch import GlobalBatchModel, all_reduce_sum, apply_global_gradients
from visem_tf.text import START_ID

Reward = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Scores sentences: token ids int [N, L] (words, END, PAD) and image ids int [N] to float [N]."""


class SelfCriticalModel(GlobalBatchModel):
    """Fine-tunes a generator on a score of its own sentences.

    `fit` takes dictionaries with `region_features` float [B, R, F], `region_mask` bool [B, R],
    `image_ids` int32 [B], which are passed to the reward, and `random` float32 [B, K L], uniform in
    [0, 1), from which the sentences of each image are drawn. Saving the model saves the generator.

    Dropout is off, so that the samples come from the distribution that is trained. The loss is a
    mean over the sampled words of the global batch; gradients are summed over the replicas and
    then clipped. The random numbers come with the images, so that one replica or several draw the
    same sentences.

    Args:
        generator: Trained generator.
        reward: Scores sentences.
        samples: K, number of sampled sentences for each image.
        max_length: L, largest number of tokens, including END.
        temperature: The logits of the distribution that is sampled and trained are divided by this.
    """

    def __init__(
        self,
        generator: SentenceGenerator,
        reward: Reward,
        samples: int,
        max_length: int,
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generator = generator
        self.reward = reward
        self.samples = samples
        self.max_length = max_length
        self.temperature = temperature
        self.supports_jit = False
        self._loss_mean = keras.metrics.Mean(name="loss")
        self._reward_mean = keras.metrics.Mean(name="reward")
        self.built = True

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes one optimizer step; see the class for `data`."""
        inputs = self.generator.inputs_of_images(data["region_features"], data["region_mask"])
        token_ids, advantages, rewards = self.sample(inputs, data["image_ids"], data["random"])
        repeated = tf.nest.map_structure(
            lambda tensor: tf.repeat(tensor, self.samples, axis=0), inputs
        )
        starts = tf.fill([tf.shape(token_ids)[0], 1], START_ID)
        batch = self.generator.batch_of(repeated, tf.concat([starts, token_ids], axis=1))
        with tf.GradientTape() as tape:
            logits, targets, _ = self.generator.logits_of_targets(batch, training=False)
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=targets.ids, logits=logits / self.temperature
            )
            count = all_reduce_sum(tf.cast(tf.size(cross_entropy), cross_entropy.dtype))
            weights = tf.gather(tf.cast(advantages, cross_entropy.dtype), targets.places[:, 1])
            loss_share = tf.reduce_sum(weights * cross_entropy) / tf.maximum(count, 1.0)
        apply_global_gradients(self, tape, loss_share, self.generator.clip_value)
        sums = tf.stack([tf.reduce_sum(rewards), tf.cast(tf.size(rewards), rewards.dtype)])
        total, sampled = tf.unstack(all_reduce_sum(sums))
        self._loss_mean.update_state(all_reduce_sum(loss_share), sample_weight=count)
        self._reward_mean.update_state(total / tf.maximum(sampled, 1.0), sample_weight=sampled)
        return {metric.name: metric.result() for metric in self.metrics}

    def sample(
        self, inputs: dict[str, tf.Tensor], image_ids: tf.Tensor, random: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Samples sentences.

        Args:
            inputs: Inputs of the generator for B images.
            image_ids: Ids of the images for the reward, int32 [B].
            random: Float32 [B, K L], uniform in [0, 1).

        Returns:
            Token ids int32 [B K, L], their advantages float [B K], which are the rewards minus the
            baseline, and their rewards float [B K].
        """
        random = tf.reshape(random, [-1, self.samples, self.max_length])
        token_ids = sample_sentences(self.generator, inputs, random, temperature=self.temperature)
        token_ids = tf.reshape(token_ids, [-1, self.max_length])
        rewards = self._score(token_ids, tf.repeat(image_ids, self.samples))
        if self.samples == 1:
            greedy, _ = greedy_search(self.generator, inputs, self.max_length)
            return token_ids, rewards - self._score(greedy, image_ids), rewards
        by_image = tf.reshape(rewards, [-1, self.samples])
        others = tf.reduce_sum(by_image, axis=1, keepdims=True) - by_image
        advantages = by_image - others / (self.samples - 1)
        return token_ids, tf.reshape(advantages, [-1]), rewards

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Running `loss`, and `reward` of the samples."""
        return [self._loss_mean, self._reward_mean]

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the generator."""
        self.generator.save(filepath, *args, **kwargs)

    def _score(self, token_ids: tf.Tensor, image_ids: tf.Tensor) -> tf.Tensor:
        def score(token_ids: np.ndarray, image_ids: np.ndarray) -> np.ndarray:
            return np.asarray(self.reward(token_ids, image_ids), np.float32)

        scores = tf.numpy_function(score, [token_ids, image_ids], tf.float32)
        return tf.ensure_shape(scores, [None])
