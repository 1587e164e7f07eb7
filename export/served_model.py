"""The newest version in a folder, kept loaded while newer ones appear.

As TensorFlow Serving does: the folder is polled, a version with a higher number is loaded, answers
its warm-up requests, and only then takes the place of the one before.
"""

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (its operations are in the model)
from tensorflow.python.util import deprecation

from visem_tf.errors import UserError
from visem_tf.export.parity import SessionModel
from visem_tf.export.saved_model.serving import WARM_UP


class ServedModel:
    """A model that follows the versions in a folder.

    Args:
      folder: Of the versions.
      poll_seconds: How often it is looked at; 0: never again.

    Attributes:
      version: The number of the version that answers.

    Raises:
      UserError: The folder has no version.
    """

    def __init__(self, folder: str | os.PathLike[str], poll_seconds: float = 1.0) -> None:
        self.folder = Path(folder)
        versions = self.versions()
        if not versions:
            raise UserError(f"{self.folder} has no version of a model (a folder with a number)")
        self._load(versions[-1])
        self._closed = threading.Event()
        if poll_seconds > 0:
            threading.Thread(target=self._poll, args=(poll_seconds,), daemon=True).start()

    def versions(self) -> list[int]:
        """The versions that are there, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdecimal())

    @property
    def signatures(self) -> dict[str, Any]:
        """Names to `SignatureDef`."""
        return self._model.signatures

    def __call__(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers a request.

        Raises:
          KeyError: There is no such signature.
          ValueError: The inputs are not those of the signature.
          tf.errors.OpError: They are of a wrong type or shape, or the model refuses them.
        """
        model = self._model
        wanted = set(model.signatures[signature].inputs)
        if set(inputs) != wanted:
            raise ValueError(f"{signature} takes {sorted(wanted)}, not {sorted(inputs)}")
        return model(signature, **inputs)

    def close(self) -> None:
        """Stops looking for new versions."""
        self._closed.set()

    def _poll(self, seconds: float) -> None:
        refused = self.version
        while not self._closed.wait(seconds):
            newest = max(self.versions(), default=self.version)
            if newest > max(self.version, refused):
                try:
                    self._load(newest)
                except (tf.errors.OpError, OSError, KeyError, RuntimeError, ValueError) as error:
                    refused = newest
                    print(f"visem_tf: version {newest} cannot be loaded: {error}", file=sys.stderr)

    def _load(self, version: int) -> None:
        path = self.folder / str(version)
        model = SessionModel(path)
        _warm_up(model, path / WARM_UP)
        # The one before is not closed: it may be answering.
        self._model, self.version = model, version


def _warm_up(model: SessionModel, path: Path) -> None:
    """Answers the recorded requests."""
    if not path.is_file():
        return
    from tensorflow_serving.apis import prediction_log_pb2

    with deprecation.silence():  # a pipeline of tf.data is too much for a handful of records
        records = list(tf.compat.v1.io.tf_record_iterator(str(path)))
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        model(request.model_spec.signature_name, **inputs)
