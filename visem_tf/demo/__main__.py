"""A page on this machine to drop pictures on, with a finished run behind it.

python -m visem_tf.demo --run-dir runs/f8k
"""

import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.errors import UserError
from visem_tf.runtime.startup import run_first_operation, start_tensorflow

_HOST = "127.0.0.1"  # nobody else on the network can ask


def main(argv: Sequence[str] | None = None) -> None:
    """Serves the page until it is interrupted.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user, a port in use, or the extra `demo` is not installed.
    """
    parser = make_parser("demo", "Serves a page on this machine that describes pictures.")
    parser.add_argument(
        "--port",
        type=int,
        default=8080,
        metavar="PORT",
        help="where the page is; 0 takes any that is free (default: 8080)",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    with _listening(options.port) as listener:
        try:
            import nicegui  # noqa: F401
            import uvicorn
        except ImportError as error:
            raise UserError(f"the demo needs {error.name}; pip install 'visem_tf[demo]'") from error
        start_tensorflow()
        run_first_operation()
        from visem_tf.demo.models import DemoModels
        from visem_tf.demo.page import make_app
        from visem_tf.runs.trained_run import TrainedRun

        print("loading the models …", flush=True)
        app = make_app(DemoModels(TrainedRun(config.run_dir, config)))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        print(
            f"open http://{_HOST}:{listener.getsockname()[1]}/ in a browser; Ctrl-C ends the demo",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it
            server.run(sockets=[listener])


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """A socket at a port of this machine; claimed before models are loaded."""
    if not 0 <= port < 65536:
        raise UserError(f"--port must be at least 0 and below 65536, not {port}")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
            listener.listen()
        except OSError as error:
            why = {errno.EADDRINUSE: "is in use", errno.EACCES: "may not be used"}.get(
                error.errno or 0, f"cannot be used ({error.strerror})"
            )
            raise UserError(
                f"port {port} {why}; give another --port, or --port 0 for any that is free"
            ) from error
        yield listener


if __name__ == "__main__":
    run_command(main)
