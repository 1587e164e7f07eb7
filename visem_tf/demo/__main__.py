"""Serves a local page that describes images with a finished run.

python -m visem_tf.demo --run-dir runs/f8k
"""

import contextlib
import socket
from collections.abc import Sequence

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.options import make_parser, option
from visem_tf.errors import UserError
from visem_tf.loading import load

_HOST = "127.0.0.1"  # not reachable from other machines


class Options:
    """Options of the command."""

    port = option("PORT", 8080, type=int)
    """The port of the page; 0 takes any that is free."""


def main(argv: Sequence[str] | None = None) -> None:
    """Serves the page until it is interrupted.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake of the user, a port in use, or the extra `demo` is not installed.
    """
    description = "Serves a page on this machine that describes images."
    parser = make_parser("demo", description, Options)
    config, options = parse_arguments(parser, argv, finished_run=True)
    try:
        listener = socket.create_server((_HOST, options.port))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"port {options.port} cannot be used ({error}); give another --port, or --port 0 for "
            "any that is free"
        ) from error
    with listener:
        try:
            import nicegui  # noqa: F401
            import uvicorn
        except ImportError as error:
            raise UserError(f"the demo needs {error.name}; pip install 'visem_tf[demo]'") from error
        print("loading the models …", flush=True)
        model = load(config.run_dir, config)
        from visem_tf.demo.model import DemoModel
        from visem_tf.demo.page import make_app

        app = make_app(DemoModel(model))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        print(
            f"open http://{_HOST}:{listener.getsockname()[1]}/ in a browser; Ctrl-C ends the demo",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the normal end
            server.run(sockets=[listener])


if __name__ == "__main__":
    run_command(main)
