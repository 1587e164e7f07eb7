"""16-bit numbers in training, 32-bit numbers afterwards."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def training_precision(name: str) -> Iterator[None]:
    """Sets the Keras dtype policy of the models that are created inside the `with` block.

    Args:
        name: "float32", or "mixed_bfloat16" for products in 16 bits and weights in 32 bits.

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
    """Makes a model compute in float32, whatever policy it was trained with."""
    for layer in model._flatten_layers():
        if layer.dtype_policy.name != "float32":
            layer.dtype_policy = keras.DTypePolicy("float32")
