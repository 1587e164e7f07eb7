"""Asking a server for predictions, by TensorFlow Serving's two protocols.

gRPC needs the extra `serving`; REST needs nothing but `requests`, and does not import TensorFlow.
"""

import base64
from typing import Any, Protocol

import numpy as np

from visem_tf.errors import UserError
from visem_tf.runtime.startup import start_tensorflow

Inputs = dict[str, list[bytes]]
Outputs = dict[str, np.ndarray]

MODEL_NAME = "captions"
"""The name under which exports are served unless another is chosen."""

PROTOCOLS = ("auto", "grpc", "rest")
"""auto takes REST for http:// and for port 8501, TensorFlow Serving's own, and gRPC otherwise."""

_REST_PORT = "8501"


class Server(Protocol):
    """A server that answers requests."""

    def predict(self, signature: str, inputs: Inputs) -> Outputs:
        """Asks a signature about a batch.

        Args:
          signature: Its name.
          inputs: Byte strings, by the names of the inputs.

        Returns:
          Arrays by the names of the outputs; texts are byte strings.

        Raises:
          UserError: The server cannot be reached, refuses, or takes too long.
        """


def connect(
    address: str, *, model: str, version: int | None = None, protocol: str, timeout: float
) -> Server:
    """Names a server; nothing is sent yet.

    Args:
      address: HOST:PORT, or http://HOST:PORT.
      model: The name under which the model is served.
      version: Which version; None: what the server takes, its latest.
      protocol: Of `PROTOCOLS`.
      timeout: Seconds that an answer may take.

    Raises:
      UserError: The address has no port, or gRPC's packages are not installed.
    """
    bare = address.partition("://")[2] or address
    host, _, port = bare.rstrip("/").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--server must be HOST:PORT, not {address!r}")
    if protocol == "auto":
        is_rest = address.startswith(("http://", "https://")) or port == _REST_PORT
        protocol = "rest" if is_rest else "grpc"
    if protocol == "rest":
        scheme = address.partition("://")[0] if "://" in address else "http"
        return RestServer(f"{scheme}://{host}:{port}", model, version, timeout)
    return GrpcServer(f"{host}:{port}", model, version, timeout)


class GrpcServer:
    """See `connect` and `Server`."""

    def __init__(self, address: str, model: str, version: int | None, timeout: float) -> None:
        start_tensorflow()  # which tensorflow_serving imports
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise UserError(
                f"gRPC needs a package ({error.name}): pip install 'visem_tf[serving]', or ask by "
                "--protocol rest"
            ) from error
        self.address, self.model, self.version, self.timeout = address, model, version, timeout
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._error = grpc.RpcError

    def predict(self, signature: str, inputs: Inputs) -> Outputs:
        """See `Server`."""
        import tensorflow as tf

        request = predict_request(self.model, self.version, signature, inputs)
        try:
            response = self._stub.Predict(request, timeout=self.timeout)
        except self._error as error:
            what = f"{error.code().name}: {error.details()}"
            raise UserError(_refusal(self.address, self.model, what)) from error
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


class RestServer:
    """See `connect` and `Server`."""

    def __init__(self, address: str, model: str, version: int | None, timeout: float) -> None:
        import requests

        self.address, self.model, self.timeout = address, model, timeout
        where = f"/versions/{version}" if version is not None else ""
        self._url = f"{address}/v1/models/{model}{where}:predict"
        self._session = requests.Session()
        self._error = requests.RequestException

    def predict(self, signature: str, inputs: Inputs) -> Outputs:
        """See `Server`."""
        body = rest_request(signature, inputs)
        try:
            response = self._session.post(self._url, json=body, timeout=self.timeout)
            content = response.json()
        except (self._error, ValueError) as error:
            raise UserError(_refusal(self.address, self.model, str(error))) from error
        if not response.ok or not isinstance(content, dict) or "outputs" not in content:
            what = content.get("error") if isinstance(content, dict) else None
            raise UserError(
                _refusal(self.address, self.model, what or f"HTTP {response.status_code}")
            )
        return rest_outputs(content["outputs"])


def predict_request(model: str, version: int | None, signature: str, inputs: Inputs) -> Any:
    """The PredictRequest of a batch, for gRPC."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string, [len(values)]))
    return request


def rest_request(signature: str, inputs: Inputs) -> dict[str, Any]:
    """The JSON body of a batch, in the columnar form: inputs may be unequally many.

    >>> rest_request("greedy", {"image_bytes": [b"abc"]})
    {'signature_name': 'greedy', 'inputs': {'image_bytes': [{'b64': 'YWJj'}]}}
    """
    encoded = {
        name: [{"b64": base64.b64encode(value).decode()} for value in values]
        for name, values in inputs.items()
    }
    return {"signature_name": signature, "inputs": encoded}


def rest_outputs(outputs: Any) -> Outputs:
    """Arrays of the JSON that a server answers; a single output comes without its name."""
    named = outputs if isinstance(outputs, dict) else {"": outputs}
    arrays = {name: np.asarray(values) for name, values in named.items()}
    return {
        name: np.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array
        for name, array in arrays.items()
    }


def _refusal(address: str, model: str, what: str) -> str:
    first = " ".join(what.split())[:300]
    return f"{address} did not answer for model {model} ({first}); check --server, --model and it"
