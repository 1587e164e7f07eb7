"""Exports of trained models, which describe images without this package.

`python -m visem_tf.export --run-dir R --to DIR` writes them: `saved_model` for TensorFlow Serving,
`tflite` for devices. `client` asks a server, and `parity` compares exports with Python.

This package is `visem_tf.export`, although a check-out of the repository keeps it in `export/`.
"""

from visem_tf.runtime import checkout as _checkout

if __name__ != "visem_tf.export":
    _checkout.defer_to_library(__name__)
