"""Optimizers and learning-rate schedules of the configuration."""

import math
from typing import Any

import keras
import tensorflow as tf

from visem_tf.config import TrainingConfig

_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


@keras.saving.register_keras_serializable(package="visem_tf")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, followed by a constant rate or by a cosine decay to zero.

    Args:
        learning_rate: Rate after the warm-up.
        warmup_steps: Number of steps of the warm-up.
        total_steps: Step at which the cosine reaches zero; 0 keeps the rate constant.

    Example:
        >>> float(WarmupSchedule(0.5, warmup_steps=4, total_steps=0)(1))
        0.25
    """

    def __init__(self, learning_rate: float, warmup_steps: int, total_steps: int) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """Returns the learning rate of a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        rate = tf.constant(self.learning_rate, tf.float32)
        if self.total_steps:
            length = max(1, self.total_steps - self.warmup_steps)
            progress = tf.clip_by_value((step - self.warmup_steps) / length, 0.0, 1.0)
            rate *= 0.5 * (1.0 + tf.cos(math.pi * progress))
        if self.warmup_steps:
            rate *= tf.minimum(1.0, (step + 1.0) / self.warmup_steps)
        return rate

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


@keras.saving.register_keras_serializable(package="visem_tf")
class TwoRatesAdam(keras.optimizers.Adam):
    """Adam with a different learning rate for the last variables.

    Args:
        learning_rate: Learning rate or schedule of the first variables.
        factor: Factor on the learning rate of the last `slow_variables` variables, in the order in
            which the optimizer was built.
        slow_variables: Number of variables with the other rate.
        kwargs: Other arguments of `keras.optimizers.Adam`.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        factor: float = 1.0,
        slow_variables: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.factor = factor
        self.slow_variables = slow_variables

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates a variable."""
        position = self._get_variable_index(variable)
        if position >= len(self._trainable_variables) - self.slow_variables:
            learning_rate = learning_rate * self.factor
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "factor": self.factor,
            "slow_variables": self.slow_variables,
        }


def make_optimizer(settings: TrainingConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a training.

    With the schedule "plateau", `ResumableTraining` changes the learning rate, warm-up included.
    Weight decay is not applied to biases. The models clip gradients themselves: an optimizer would
    clip them in every replica, before they are summed.

    Args:
        settings: Section `align` or `generate` of the configuration.
        steps_per_epoch: Batches of an epoch.
    """
    rate: Any = settings.learning_rate
    cosine = settings.schedule == "cosine"
    if cosine or (settings.warmup_steps and settings.schedule != "plateau"):
        total_steps = settings.epochs * steps_per_epoch if cosine else 0
        rate = WarmupSchedule(settings.learning_rate, settings.warmup_steps, total_steps)
    arguments: dict[str, Any] = {"learning_rate": rate}
    if settings.optimizer == "sgd":
        arguments["momentum"] = settings.momentum
    if settings.weight_decay:
        arguments["weight_decay"] = settings.weight_decay
    optimizer = _OPTIMIZERS[settings.optimizer](**arguments)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer
