"""The files that TensorFlow Serving reads beside a model: warm-up requests and configuration."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.export.client import MODEL_NAME, predict_request
from visem_tf.export.description import inputs_of
from visem_tf.runtime.files import atomic_path, write_atomically

WARM_UP = "assets.extra/tf_serving_warmup_requests"
"""Path of the requests that TensorFlow Serving answers before it offers a version."""

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
"""Sizes of the batches that the server forms; it pads other sizes."""

_MODELS = f"""\
model_config_list {{
  config {{
    name: "{MODEL_NAME}"
    base_path: "/models/{MODEL_NAME}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""
_BATCHING = f"""\
# Threads: about as many as the machine has cores. `score` and `ground` do not work with batching.
max_batch_size {{ value: {BATCH_SIZES[-1]} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 64 }}
num_batch_threads {{ value: 4 }}
""" + "".join(f"allowed_batch_sizes: {size}\n" for size in BATCH_SIZES)


def write_warm_up(folder: Path, functions: dict[str, Any]) -> str | None:
    """Writes a request for every signature of encoded images and sentences, with one of each.

    The first request to a signature optimises its graph, which takes about a second. Signatures of
    pixels and features are left out, because every request delays a new version.

    Args:
        folder: Folder of the version.
        functions: Concrete functions by the names of their signatures.

    Returns:
        None, or the reason why there are no warm-up requests.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        return "tensorflow-serving-api is missing; pip install 'visem_tf[serving]'"
    examples: dict[str, Any] = {
        "image_bytes": [_example_image()],
        "sentences": [b"a picture"],
        **dict.fromkeys(("image", "first", "last"), np.zeros(1, np.int32)),
    }
    with atomic_path(folder / WARM_UP) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for name, function in functions.items():
            specs = inputs_of(function)
            # The pixels of other signatures have the name of a position of `ground`.
            if all(s.name in examples and not s.dtype.is_floating for s in specs):
                inputs = {spec.name: examples[spec.name] for spec in specs}
                request = predict_request(MODEL_NAME, None, name, inputs)
                log = prediction_log_pb2.PredictLog(request=request)
                record = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(record.SerializeToString())
    return None


def write_configuration(to: Path) -> list[Path]:
    """Writes `serving/models.config` and `serving/batching.config` beside the versions.

    Existing files are kept, because the user may have edited them.

    Returns:
        Paths of both files.
    """
    paths = []
    for name, text in (("models.config", _MODELS), ("batching.config", _BATCHING)):
        path = to / "serving" / name
        paths.append(path)
        if not path.exists():
            write_atomically(path, text)
    return paths


def docker_command(to: str | os.PathLike[str]) -> str:
    """Returns the command that serves a folder of versions: gRPC on port 8500, REST on 8501.

    Example:
        >>> print(docker_command("/served"))
        docker run --rm -p 8500:8500 -p 8501:8501 -v /served:/models/captions:ro \
tensorflow/serving --model_config_file=/models/captions/serving/models.config \
--enable_batching=true \
--batching_parameters_file=/models/captions/serving/batching.config
    """
    there = f"/models/{MODEL_NAME}"
    return (
        f"docker run --rm -p 8500:8500 -p 8501:8501 -v {Path(to).absolute()}:{there}:ro "
        f"tensorflow/serving --model_config_file={there}/serving/models.config "
        f"--enable_batching=true "
        f"--batching_parameters_file={there}/serving/batching.config"
    )


def _example_image() -> bytes:
    ramp = np.linspace(0, 255, 64)
    pixels = np.stack(np.broadcast_arrays(ramp, ramp[:, np.newaxis], 128), axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()
