"""What TensorFlow Serving reads beside a model: warm-up requests and its configuration files."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.export.asking import MODEL_NAME
from visem_tf.runtime.files import atomic_path, write_atomically

WARM_UP = "assets.extra/tf_serving_warmup_requests"
"""Where TensorFlow Serving looks for requests to answer before it lets a version serve."""

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
"""Batches that the server may form; it fills up what lies between."""

_WARM_INPUTS = {"image_bytes", "sentences"}
_MODELS = """\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""
_BATCHING = """\
# Threads: about as many as the machine has cores. `score` may not be asked with batching on.
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 64 }}
num_batch_threads {{ value: 4 }}
{allowed}
"""


def write_warm_up(folder: Path, signatures: dict[str, Any]) -> str | None:
    """Writes a request for every signature of encoded pictures and sentences, of one each.

    The first request to a signature has its graph optimised, which takes a second or so. Signatures
    of pixels and features are left out: few use them, and every one delays a new version.

    Args:
      folder: Of the version.
      signatures: Names to concrete functions.

    Returns:
      None, or why there are no warm-up requests.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return "tensorflow-serving-api is missing; pip install 'visem_tf[serving]'"
    with atomic_path(folder / WARM_UP) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for name, function in signatures.items():
            if {spec.name for spec in inputs_of(function)} - _WARM_INPUTS:
                continue
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL_NAME
            request.model_spec.signature_name = name
            for spec in inputs_of(function):
                example = _picture() if spec.name == "image_bytes" else b"a picture"
                request.inputs[spec.name].CopyFrom(tf.make_tensor_proto([example], tf.string))
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(record.SerializeToString())
    return None


def inputs_of(function: Any) -> list[tf.TensorSpec]:
    """The named inputs of a concrete function, given by place or by name."""
    specs = tf.nest.flatten(function.structured_input_signature)
    return [spec for spec in specs if isinstance(spec, tf.TensorSpec)]


def write_configuration(to: Path, name: str = MODEL_NAME) -> list[Path]:
    """Writes `serving/models.config` and `serving/batching.config` beside the versions.

    Files that are there are left alone: their owner may have changed them.

    Returns:
      Both paths.
    """
    allowed = "\n".join(f"allowed_batch_sizes: {size}" for size in BATCH_SIZES)
    texts = {
        "models.config": _MODELS.format(name=name),
        "batching.config": _BATCHING.format(largest=BATCH_SIZES[-1], allowed=allowed),
    }
    paths = []
    for file, text in texts.items():
        path = to / "serving" / file
        paths.append(path)
        if not path.exists():
            write_atomically(path, text)
    return paths


def docker_command(to: str | os.PathLike[str], name: str = MODEL_NAME) -> str:
    """The command that serves a folder of versions, gRPC on port 8500 and REST on 8501.

    >>> print(docker_command("/served"))
    docker run --rm -p 8500:8500 -p 8501:8501 -v /served:/models/captions:ro tensorflow/serving \
--model_config_file=/models/captions/serving/models.config --enable_batching=true \
--batching_parameters_file=/models/captions/serving/batching.config
    """
    here, there = Path(to).absolute(), f"/models/{name}"
    return (
        f"docker run --rm -p 8500:8500 -p 8501:8501 -v {here}:{there}:ro tensorflow/serving "
        f"--model_config_file={there}/serving/models.config --enable_batching=true "
        f"--batching_parameters_file={there}/serving/batching.config"
    )


def _picture() -> bytes:
    ramp = np.linspace(0, 255, 64)
    pixels = np.stack(np.broadcast_arrays(ramp, ramp[:, np.newaxis], 128), axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()
