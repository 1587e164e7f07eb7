"""The state of a generator that goes on looking at the picture while it writes."""

from typing import Any, NamedTuple


class PictureState(NamedTuple):
    """A state of decoding in two parts, so that a search need not copy pictures for its beams.

    Attributes:
      rows: a nest of tensors with a row for every sentence being written, [B K, ...]: searches
        copy, reorder and replace them.
      pictures: a nest of tensors with a row for every picture, [B, ...], the same at every step;
        the sentences of picture b are the rows b K to b K + K - 1.
    """

    rows: Any
    pictures: Any
