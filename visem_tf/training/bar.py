"""How far a training is, with the time that is left; nothing where the output is no terminal."""

from typing import Any

import keras
import tqdm


class TrainingBar(keras.callbacks.Callback):
    """A progress bar over all epochs of a training.

    Args:
      name: Stands before it.
      steps_per_epoch: Batches of an epoch.
      epochs: How many there are at most; an early end is not foreseen.
      first_epoch: How many are done already.
      first_step: How many batches of the next are done already.
    """

    def __init__(
        self,
        name: str,
        steps_per_epoch: int,
        epochs: int,
        first_epoch: int = 0,
        first_step: int = 0,
    ) -> None:
        super().__init__()
        self._bar = tqdm.tqdm(
            total=steps_per_epoch * epochs,
            initial=steps_per_epoch * first_epoch + first_step,
            desc=name,
            unit=" steps",
            disable=None,
            leave=False,
            delay=1,
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves on."""
        if not self._bar.disable and logs and "loss" in logs:
            self._bar.set_postfix(loss=f"{float(logs['loss']):.4g}", refresh=False)
        self._bar.update()

    def on_train_end(self, logs: Any = None) -> None:
        """Takes the bar away."""
        self._bar.close()
