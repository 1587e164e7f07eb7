"""Serves a SavedModel by TensorFlow Serving's protocols, where there is no TensorFlow Serving.

python -m visem_tf.export.stand_in --models served/captions

For trying a client and for tests; `visem_tf.export.stand_in_server` says what it leaves out.
"""

import argparse
import signal
import threading
from collections.abc import Sequence

from visem_tf.cli import run_command
from visem_tf.export.asking import MODEL_NAME
from visem_tf.runtime.startup import start_tensorflow, without_noise


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until it is interrupted.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: There is no model, or a port is taken.
    """
    parser = argparse.ArgumentParser(
        prog="python -m visem_tf.export.stand_in",
        description="Serves an exported model by TensorFlow Serving's protocols, to try a client.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--models", required=True, metavar="DIR", help="the folder of versions")
    parser.add_argument("--name", default=MODEL_NAME, help="the name to serve it under")
    parser.add_argument("--grpc-port", type=int, default=8500, help="0 takes a free one")
    parser.add_argument("--rest-port", type=int, default=8501, help="0 takes a free one")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    options = parser.parse_args(argv)
    start_tensorflow()
    from visem_tf.export.served_model import ServedModel
    from visem_tf.export.stand_in_server import StandIn

    with without_noise():
        model = ServedModel(options.models)
    server = StandIn(model, options.name, options.grpc_port, options.rest_port)
    server.start()
    print(
        f"{options.name}, version {model.version}: gRPC on 127.0.0.1:{server.grpc_port}, REST on "
        f"http://127.0.0.1:{server.rest_port}",
        flush=True,
    )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    server.stop()


if __name__ == "__main__":
    run_command(main)
