"""Numbers of 16 bits in training, of 32 bits in everything after it."""

import contextlib
from collections.abc import Iterator

import keras

FULL = "float32"


@contextlib.contextmanager
def training_precision(name: str) -> Iterator[None]:
    """Gives the models that are built in the block a Keras dtype policy.

    Args:
      name: "float32", or "mixed_bfloat16": products in 16 bits, weights in 32.

    Example:
        >>> with training_precision("mixed_bfloat16"):
        ...     keras.layers.Dense(2).compute_dtype
        'bfloat16'
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def use_full_precision(model: keras.Model) -> None:
    """Makes a model compute in float32, however it was trained."""
    for layer in model._flatten_layers():
        if layer.dtype_policy.name != FULL:
            layer.dtype_policy = keras.DTypePolicy(FULL)
