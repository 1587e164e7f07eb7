"""Asks a running server for captions of images and prints them.

    python -m visem_tf.export.client --server localhost:8500 photo.jpg

`connect` gives the same access from Python, by either protocol of TensorFlow Serving. gRPC needs
the extra `serving`; REST needs only `requests` and does not import TensorFlow.
"""

import base64
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from visem_tf.cli import run_command
from visem_tf.config.options import Parser, add_options, option
from visem_tf.errors import UserError
from visem_tf.runtime.json_files import json_written_at_end
from visem_tf.runtime.outputs import output_file
from visem_tf.runtime.startup import start_tensorflow
from visem_tf.runtime.storage import AnyPath, as_path
from visem_tf.runtime.streams import without_controls
from visem_tf.runtime.terminal import printable

Inputs = Mapping[str, Sequence[bytes] | np.ndarray]
"""Byte strings, or arrays of numbers, by the names of a signature's inputs."""
Outputs = dict[str, np.ndarray]
"""Arrays by the names of a signature's outputs; texts are byte strings."""

MODEL_NAME = "captions"
"""Default name under which exports are served."""

_SIGNATURES = ("greedy", "beam", "describe_regions", "describe_regions_beam")
_REST_PORT = "8501"  # TensorFlow Serving's default
_MAX_TIMEOUT = 86_400
_SHOWN = 300  # characters of an answer in messages


@dataclass
class Server:
    """A server that answers with captions; see `connect`.

    Attributes:
        address: HOST:PORT, for REST with its scheme.
        model: Name under which the model is served.
        version: Version to ask, or None for the server's latest.
        timeout: Seconds to wait for an answer.
    """

    address: str
    model: str
    version: int | None
    timeout: float

    def predict(self, signature: str, inputs: Inputs) -> Outputs:
        """Runs a signature on a batch.

        Args:
            signature: Name of the signature.
            inputs: Inputs of the signature.

        Raises:
            UserError: The server cannot be reached, refuses the request or takes too long.
        """
        raise NotImplementedError

    def describe(self, signature: str, images: Sequence[bytes]) -> Outputs:
        """Returns captions of encoded images with their log-probabilities.

        Raises:
            UserError: The server does not answer, or not with captions.
        """
        outputs = self.predict(signature, {"image_bytes": images})
        if not _are_captions(outputs, len(images)):
            shown = ", ".join(f"{name} {list(v.shape)} {v.dtype}" for name, v in outputs.items())
            raise self._not_captions(shown or "nothing")
        return outputs

    def _refused(self, reason: Any) -> UserError:
        return UserError(
            f"{self.address} did not answer for model {self.model} ({_on_one_line(reason)}); check "
            "--server and --model"
        )

    def _not_captions(self, shown: Any) -> UserError:
        return UserError(
            f"{self.address} answered, but not with captions ({_on_one_line(shown)}); check that "
            f"{self.model} is an export of visem_tf, and --signature"
        )


@dataclass
class GrpcServer(Server):
    """A server that is asked by gRPC."""

    def __post_init__(self) -> None:
        start_tensorflow()  # tensorflow_serving imports it
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise UserError(
                f"gRPC needs the package {error.name}: pip install 'visem_tf[serving]', or use "
                "--protocol rest"
            ) from error
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        channel = grpc.insecure_channel(self.address, options=unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._error = grpc.RpcError

    def predict(self, signature: str, inputs: Inputs) -> Outputs:
        """Runs a signature on a batch; see `Server.predict`."""
        import tensorflow as tf

        request = predict_request(self.model, self.version, signature, inputs)
        try:
            response = self._stub.Predict(request, timeout=self.timeout)
        except self._error as error:
            raise self._refused(f"{error.code().name}: {error.details()}") from error
        try:
            return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
        except (ValueError, TypeError) as error:
            raise self._not_captions(error) from error


class RestServer(Server):
    """A server that is asked by REST."""

    def predict(self, signature: str, inputs: Inputs) -> Outputs:
        """Runs a signature on a batch; see `Server.predict`."""
        import requests

        version = "" if self.version is None else f"/versions/{self.version}"
        url = f"{self.address}/v1/models/{self.model}{version}:predict"
        body = rest_request(signature, inputs)
        try:
            response = requests.post(url, json=body, timeout=self.timeout)
        except (requests.RequestException, ValueError) as error:
            raise self._refused(error) from error
        start = response.content[:_SHOWN].decode("utf-8", "replace")
        try:
            content = response.json()
        except (ValueError, RecursionError) as error:
            reason = f"HTTP {response.status_code}, not in JSON: {start}"
            raise self._refused(reason) from error
        if not response.ok:
            told = content.get("error") if isinstance(content, dict) else None
            raise self._refused(told or f"HTTP {response.status_code}")
        if not isinstance(content, dict) or "outputs" not in content:
            raise self._not_captions(start)
        try:
            return rest_outputs(content["outputs"])
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise self._not_captions(error) from error


def connect(
    address: str, *, model: str, version: int | None = None, protocol: str, timeout: float
) -> Server:
    """Returns a server to ask; no request is sent yet.

    Args:
        address: HOST:PORT or http://HOST:PORT.
        model: Name under which the model is served.
        version: Version to ask, or None for the server's latest.
        protocol: "grpc", "rest", or "auto": REST for http:// addresses and port 8501, else gRPC.
        timeout: Seconds to wait for an answer.

    Raises:
        UserError: The address has no port, or gRPC's packages are not installed.
    """
    scheme, separator, rest = address.partition("://")
    host, _, port = (rest if separator else address).rstrip("/").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--server must be HOST:PORT, not {address!r}")
    if protocol == "auto":
        is_rest = (separator and scheme.startswith("http")) or port == _REST_PORT
        protocol = "rest" if is_rest else "grpc"
    if protocol == "rest":
        scheme = scheme if separator else "http"
        return RestServer(f"{scheme}://{host}:{port}", model, version, timeout)
    return GrpcServer(f"{host}:{port}", model, version, timeout)


def predict_request(model: str, version: int | None, signature: str, inputs: Inputs) -> Any:
    """Returns the PredictRequest of a batch for gRPC."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for name, values in inputs.items():
        dtype = None if isinstance(values, np.ndarray) else tf.string
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype, [len(values)]))
    return request


def rest_request(signature: str, inputs: Inputs) -> dict[str, Any]:
    """Returns the JSON body of a batch in columns, whose inputs may differ in length.

    Example:
        >>> rest_request("greedy", {"image_bytes": [b"abc"]})
        {'signature_name': 'greedy', 'inputs': {'image_bytes': [{'b64': 'YWJj'}]}}
    """
    encoded = {
        name: values.tolist()
        if isinstance(values, np.ndarray)
        else [{"b64": base64.b64encode(value).decode()} for value in values]
        for name, values in inputs.items()
    }
    return {"signature_name": signature, "inputs": encoded}


def rest_outputs(outputs: Any) -> Outputs:
    """Returns the arrays of a JSON answer; a single output comes without its name."""
    named = outputs if isinstance(outputs, dict) else {"": outputs}
    arrays = {name: np.asarray(_plain(values)) for name, values in named.items()}
    return {
        name: np.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array
        for name, array in arrays.items()
    }


def _plain(values: Any) -> Any:
    """Returns JSON values without objects: `{"b64": …}` is text that is not UTF-8."""
    if isinstance(values, list):
        return [_plain(value) for value in values]
    if isinstance(values, dict):
        return base64.b64decode(values["b64"]).decode("utf-8", "replace")
    return values


def _are_captions(outputs: Outputs, rows: int) -> bool:
    """Returns whether an answer has captions with their log-probabilities for all rows."""
    captions, log_probs = outputs.get("captions"), outputs.get("log_probs")
    boxes = outputs.get("boxes")
    return (
        captions is not None
        and log_probs is not None
        and all(_is_of_rows(values, rows) for values in outputs.values())
        and captions.dtype.kind == "O"
        and captions.ndim <= 2
        and log_probs.dtype.kind in "fi"
        and captions.shape == log_probs.shape
        and captions[:1].size > 0
        and (boxes is None or (boxes.shape == (*captions.shape, 4) and boxes.dtype.kind == "f"))
    )


def _is_of_rows(values: np.ndarray, rows: int) -> bool:
    """Returns whether an output has texts or numbers for each of the images."""
    if values.shape[:1] != (rows,):
        return False
    if values.dtype.kind == "O":
        return all(isinstance(text, bytes) for text in values.flat)
    return values.dtype.kind in "fiub"


def _on_one_line(text: Any) -> str:
    return " ".join(str(text).split())[:_SHOWN]


class Options:
    """Options of the command."""

    images = option("IMAGE", nargs="+")
    """JPEG or PNG file."""
    server = option("HOST:PORT", required=True)
    """Address of the server."""
    protocol = option(default="auto", choices=("auto", "grpc", "rest"))
    """auto takes REST for http:// addresses and port 8501, gRPC otherwise."""
    model = option(default=MODEL_NAME)
    """Name under which the model is served."""
    version = option(default=None, type=int)
    """Version to ask, instead of the latest."""
    signature = option(default="greedy", choices=_SIGNATURES)
    """Signature to ask."""
    batch_size = option("N", 8, type=int)
    """Images in a request."""
    timeout = option("SECONDS", 60.0, type=float)
    """Seconds to wait for an answer."""
    json = option("FILE", type=output_file)
    """File to write all answers to."""
    debug = option(default=False, action="store_true")
    """Show the traceback of a mistake."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the captions of the images that the command line names.

    Args:
        argv: Arguments of the command, or None for those of this process.

    Raises:
        UserError: An argument is invalid, the server refuses, or it cannot decode an image.
    """
    parser = Parser(
        prog="python -m visem_tf.export.client",
        description="Asks a running TensorFlow Serving for captions of images.",
        allow_abbrev=False,
    )
    add_options(parser, Options)
    options = parser.parse(sys.argv[1:] if argv is None else argv)
    if options.batch_size < 1:
        raise UserError(f"--batch-size must be at least 1, not {options.batch_size}")
    if not 0 < options.timeout <= _MAX_TIMEOUT:
        raise UserError(f"--timeout must be up to {_MAX_TIMEOUT} seconds, not {options.timeout}")
    if options.version is not None and not 0 <= options.version < 2**63:
        raise UserError(f"--version must be the number of a version, not {options.version}")
    paths = [as_path(image) for image in options.images]
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no image {path}")
    server = connect(
        options.server,
        model=options.model,
        version=options.version,
        protocol=options.protocol,
        timeout=options.timeout,
    )
    results: list[dict[str, Any]] = []
    unreadable: list[str] = []
    with json_written_at_end(options.json, results):
        for start in range(0, len(paths), options.batch_size):
            batch = paths[start : start + options.batch_size]
            outputs = server.describe(options.signature, [path.read_bytes() for path in batch])
            for row, path in enumerate(batch):
                results.append(_as_json(path, outputs, row))
                if np.atleast_1d(outputs["log_probs"][row])[0] == -np.inf:
                    unreadable.append(str(path))
                else:
                    _print(results[-1])
    if unreadable:
        raise UserError(f"the server cannot read as JPEG or PNG: {', '.join(unreadable)}")


def _as_json(path: AnyPath, outputs: Outputs, row: int) -> dict[str, Any]:
    """Returns the answer about one image; numbers that are not finite become None."""
    result: dict[str, Any] = {"image": str(path)}
    for name, values in outputs.items():
        result[name] = _json_value(np.atleast_1d(values[row]).tolist())
    return result


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_value(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(result: dict[str, Any]) -> None:
    captions = [printable(caption) for caption in result["captions"]]
    image, boxes = without_controls(result["image"]), result.get("boxes")
    if boxes is None:
        print(f"{image}: {captions[0]}")
        for caption in captions[1:]:
            print(f"    {caption}")
        return
    print(f"{image}:")
    for box, caption, log_prob in zip(boxes, captions, result["log_probs"], strict=True):
        if log_prob is not None:
            print("    [" + " ".join(f"{edge:.2f}" for edge in box) + f"] {caption}")


if __name__ == "__main__":
    run_command(main)
