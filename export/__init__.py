"""The trained models as a SavedModel, which serves pictures in and text out without this package.

`python -m visem_tf.export --run-dir R --to DIR` writes it; `signatures` says what can be asked of
it and `saved_model` how it lies on disk.

This package is `visem_tf.export`, although a check-out of the repository keeps it in `export/`.
"""

from visem_tf.runtime import checkout as _checkout

if __name__ != "visem_tf.export":
    _checkout.defer_to_library(__name__)
