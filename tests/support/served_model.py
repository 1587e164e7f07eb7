"""The newest version in a folder, which newer ones replace as they appear.

As in TensorFlow Serving, the folder is polled; a version with a higher number is loaded, answers
its warm-up requests, and only then replaces the previous version.
"""

import os
import sys
import threading
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers operations of the model)
from tensorflow.python.util import deprecation
from tensorflow_serving.apis import prediction_log_pb2

from visem_tf.export.parity import SessionModel
from visem_tf.export.saved_model.serving_files import WARM_UP


class ServedModel:
    """A model that follows the versions in a folder.

    Args:
        folder: Folder of the versions.
        poll_seconds: Seconds between two looks at the folder.

    Attributes:
        version: Number of the version that answers.
    """

    def __init__(self, folder: str | os.PathLike[str], poll_seconds: float = 1.0) -> None:
        self.folder = Path(folder)
        self._load(self.versions()[-1])
        self._closed = threading.Event()
        threading.Thread(target=self._poll, args=(poll_seconds,), daemon=True).start()

    def versions(self) -> list[int]:
        """Returns the versions in the folder, in order."""
        return sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdecimal())

    @property
    def signatures(self) -> dict:
        """Names to `SignatureDef`."""
        return self._model.signatures

    def __call__(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers a request.

        Raises:
            ValueError: The inputs are not those of the signature.
        """
        model = self._model
        wanted = set(model.signatures[signature].inputs)
        if set(inputs) != wanted:
            raise ValueError(f"{signature} takes {sorted(wanted)}, not {sorted(inputs)}")
        return model(signature, **inputs)

    def close(self) -> None:
        """Stops polling the folder."""
        self._closed.set()

    def _poll(self, seconds: float) -> None:
        refused = self.version
        while not self._closed.wait(seconds):
            newest = self.versions()[-1]
            if newest > max(self.version, refused):
                try:
                    self._load(newest)
                except (tf.errors.OpError, OSError, KeyError, RuntimeError, ValueError) as error:
                    refused = newest
                    print(f"version {newest} cannot be loaded: {error}", file=sys.stderr)

    def _load(self, version: int) -> None:
        path = self.folder / str(version)
        model = SessionModel(path)
        with deprecation.silence():
            records = list(tf.compat.v1.io.tf_record_iterator(str(path / WARM_UP)))
        for record in records:
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            model(request.model_spec.signature_name, **inputs)
        # The previous version is not closed, because it may be answering.
        self._model, self.version = model, version
