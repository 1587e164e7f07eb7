"""Context of a stage: the configuration, the run directory, the data set and the devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from visem_tf.config import Config
from visem_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    import tensorflow as tf

    from visem_tf.datasets.caption_dataset import CaptionDataset


@dataclass(frozen=True)
class Context:
    """Context of a stage.

    Attributes:
        config: Resolved configuration of this call.
        run: Run directory.
        data: Data set, with its splits.
        strategy: Devices to train on.
    """

    config: Config
    run: RunDirectory
    data: CaptionDataset
    strategy: tf.distribute.Strategy

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes, of all that train together."""
        from visem_tf.runtime.workers import worker_index

        return worker_index(self.strategy) == 0
