"""A stand-in for TensorFlow Serving: a SavedModel behind its two protocols.

    python tests/support/stand_in.py DIR

It loads the model as TensorFlow Serving does, by the session loader, follows new versions and
answers the same requests, but in Python: without batching of requests, metrics or encryption.
"""

import base64
import http.server
import json
import re
import sys
import threading
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from served_model import ServedModel
from visem_tf.export.client import MODEL_NAME

_PATH = re.compile(r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+))?:predict")
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class StandIn:
    """A model behind both protocols, on free ports of this machine.

    Args:
        model: Model that answers.
        threads: Requests that are answered at a time.

    Attributes:
        grpc_port: Port of gRPC.
        rest_port: Port of REST.
    """

    def __init__(self, model: ServedModel, threads: int = 32) -> None:
        self.model = model
        self._grpc = grpc.server(futures.ThreadPoolExecutor(threads), options=_UNLIMITED)
        servicer = _Servicer(self)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, self._grpc)
        self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._rest = _HttpServer(("127.0.0.1", 0), _handler(self))
        self.rest_port = self._rest.server_address[1]
        self._grpc.start()
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stops both servers."""
        self.model.close()
        self._grpc.stop(grace=1)
        self._rest.shutdown()
        self._rest.server_close()

    def answer(
        self, name: str, version: int | None, signature: str, inputs: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Answers a request of either protocol.

        Raises:
            LookupError: There is no such model, version or signature.
            ValueError: The model refuses the inputs.
        """
        if name != MODEL_NAME or version not in (None, self.model.version):
            which = "" if version is None else f" version {version}"
            raise LookupError(f"Servable not found for request: {name}{which}")
        signature = signature or "serving_default"
        if signature not in self.model.signatures:
            raise LookupError(f'Serving signature key "{signature}" not found.')
        try:
            return self.model(signature, inputs)
        except (tf.errors.OpError, TypeError) as error:
            raise ValueError(str(getattr(error, "message", error))) from error


class _Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802  (gRPC's name)
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        try:
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = self.stand_in.answer(spec.name, version, spec.signature_name, inputs)
        except LookupError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error.args[0]))
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(spec)
        response.model_spec.version.value = self.stand_in.model.version
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


class _HttpServer(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def _handler(stand_in: StandIn) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            match = _PATH.fullmatch(self.path)
            if match is None:
                self._send(404, {"error": f"Malformed request: POST {self.path}"})
                return
            version = int(match["version"]) if match["version"] else None
            try:
                body = json.loads(content)
                inputs, by_rows = _inputs(body)
                signature = body.get("signature_name", "")
                outputs = stand_in.answer(match["name"], version, signature, inputs)
                self._send(200, _outputs(outputs, by_rows))
            except LookupError as error:
                self._send(404, {"error": str(error.args[0])})
            except ValueError as error:
                self._send(400, {"error": str(error)})

        def _send(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Prints nothing."""

    return Handler


def _inputs(body: Any) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the inputs of a JSON request, and whether they are rows (`instances`)."""
    if not isinstance(body, dict) or ("inputs" in body) == ("instances" in body):
        raise ValueError("JSON must have one of inputs and instances")
    given = body.get("inputs")
    by_rows = "instances" in body
    if by_rows:
        rows = body["instances"]
        if any(set(row) != set(rows[0]) for row in rows):
            raise ValueError("instances must be objects with the same names")
        given = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: np.asarray(_decoded(values)) for name, values in given.items()}, by_rows


def _decoded(values: Any) -> Any:
    if isinstance(values, dict):
        return base64.b64decode(values["b64"], validate=True)
    if not isinstance(values, list):
        return values.encode() if isinstance(values, str) else values
    decoded = [_decoded(value) for value in values]
    # NumPy's own byte strings would lose zeros at their ends.
    return np.array(decoded, object) if any(isinstance(d, bytes) for d in decoded) else decoded


def _outputs(outputs: dict[str, np.ndarray], by_rows: bool) -> dict[str, Any]:
    plain = {
        name: np.vectorize(bytes.decode, otypes=[object])(value).tolist()
        if value.dtype == object and value.size
        else value.tolist()
        for name, value in outputs.items()
    }
    if by_rows:
        rows = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
        return {"predictions": [next(iter(r.values())) for r in rows] if len(plain) == 1 else rows}
    return {"outputs": next(iter(plain.values())) if len(plain) == 1 else plain}


if __name__ == "__main__":
    stand_in = StandIn(ServedModel(sys.argv[1]))
    print(f"127.0.0.1:{stand_in.grpc_port} http://127.0.0.1:{stand_in.rest_port}", flush=True)
    threading.Event().wait()
