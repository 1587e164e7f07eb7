"""Recurrent cells, a module each; the name of the module is the name in the configuration.

A cell is mathematics without weights. A generator multiplies; a cell says what one step makes of
the two products,

    inputs     what the step is told (its word, and whatever else enters),    [B, G H]
    recurrent  h_{t-1} U + b, from the hidden state of the step before,       [B, G H]

G being the number of its gates. A new cell is one new module with a `CELL`.
"""

import importlib
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.config.registry import CELLS

Memory = tuple[tf.Tensor, ...]
Step = Callable[[tf.Tensor, tf.Tensor, Memory], tuple[tf.Tensor, Memory]]


class Cell(NamedTuple):
    """What a generator needs to know of a cell.

    Attributes:
      gates: G.
      memory: What a step reads of the step before, other than through `recurrent`: nothing
        ("none"), the hidden state itself ("hidden"), or a second vector of its own ("own").
      step: (inputs [B, G H], recurrent [B, G H], memory) to (hidden [B, H], memory); the memory is
        a tuple of one tensor [B, H], or an empty one where there is none.
      first_bias: H to the values that b starts with, float32 [G H].
    """

    gates: int
    memory: Literal["none", "hidden", "own"]
    step: Step
    first_bias: Callable[[int], np.ndarray]

    def first_memory(self, hidden: tf.Tensor, own: tf.Tensor | None = None) -> Memory:
        """The memory before the first step.

        Args:
          hidden: h_0, [B, H].
          own: what a memory of the cell's own starts with, [B, H]; None: zeros.
        """
        if self.memory == "none":
            return ()
        if self.memory == "hidden":
            return (hidden,)
        return (tf.zeros_like(hidden) if own is None else own,)


def get_cell(name: str) -> Cell:
    """The cell of a name.

    Raises:
      ValueError: there is no such cell.

    Example:
        >>> get_cell("lstm").gates
        4
    """
    if name not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {name!r}")
    cell = importlib.import_module(f"{__name__}.{name}").CELL
    assert isinstance(cell, Cell)
    return cell
