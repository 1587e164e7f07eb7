"""Schedules by hand, and optimizers as the configuration names them."""

import math

import keras
import numpy as np
import pytest

from visem_tf.config import AlignConfig
from visem_tf.training.optimizers import TwoRatesAdam, WarmupSchedule, make_optimizer


def test_schedule_rises_then_follows_half_a_cosine():
    schedule = WarmupSchedule(0.2, warmup_steps=4, total_steps=14)
    rates = [float(schedule(step)) for step in range(15)]
    np.testing.assert_allclose(rates[:4], [0.05, 0.1, 0.15, 0.2], rtol=1e-6)
    expected = [0.1 * (1 + math.cos(math.pi * (step - 4) / 10)) for step in range(4, 15)]
    np.testing.assert_allclose(rates[4:], expected, atol=1e-7)


def test_schedule_stays_without_total_steps():
    schedule = WarmupSchedule(0.2, warmup_steps=2, total_steps=0)
    np.testing.assert_allclose([float(schedule(s)) for s in (0, 1, 9, 999)], [0.1, 0.2, 0.2, 0.2])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", keras.optimizers.SGD),
        ("adam", keras.optimizers.Adam),
        ("adamw", keras.optimizers.AdamW),
        ("rmsprop", keras.optimizers.RMSprop),
    ],
)
def test_names(name, kind):
    optimizer = make_optimizer(AlignConfig(optimizer=name, schedule="constant"), 10)
    assert type(optimizer) is kind
    assert float(optimizer.learning_rate) == pytest.approx(AlignConfig().learning_rate)


def test_sgd_has_momentum_and_weight_decay_spares_biases():
    settings = AlignConfig(optimizer="sgd", momentum=0.5, weight_decay=0.1, learning_rate=1.0)
    optimizer = make_optimizer(settings, 10)
    assert optimizer.momentum == 0.5
    kernel = keras.Variable([1.0], name="kernel")
    bias = keras.Variable([1.0], name="bias")
    optimizer.apply([np.zeros(1, "f4"), np.zeros(1, "f4")], [kernel, bias])
    assert float(kernel[0]) < 1.0
    assert float(bias[0]) == 1.0


def test_the_last_variables_have_another_rate():
    variables = [keras.Variable(np.ones(3, "float32")) for _ in range(4)]
    optimizer = TwoRatesAdam(0.1, factor=0.01, slow_variables=2)
    optimizer.build(variables)
    optimizer.apply([np.ones(3, "float32")] * 4)
    steps = [1 - float(variable[0]) for variable in variables]
    np.testing.assert_allclose(steps, [0.1, 0.1, 0.001, 0.001], rtol=1e-3)
