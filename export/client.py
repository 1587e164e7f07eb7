"""Asks a running server to describe pictures, and prints what it says.

python -m visem_tf.export.client --server localhost:8500 photo.jpg
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from visem_tf.cli import run_command
from visem_tf.errors import UserError
from visem_tf.export.asking import MODEL_NAME, PROTOCOLS, Outputs, connect
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import AnyPath, as_path

_SIGNATURES = ("greedy", "beam", "describe_regions", "describe_regions_beam")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UserError(f"{message}; see --help")


def main(argv: Sequence[str] | None = None) -> None:
    """Asks about the pictures that the command line names.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user, or the server refuses; or it could not decode a picture.
    """
    options = _parser().parse_args(argv)
    if options.batch_size < 1:
        raise UserError(f"--batch-size must be at least 1, not {options.batch_size}")
    paths = [as_path(image) for image in options.images]
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no picture {path}")
    server = connect(
        options.server,
        model=options.model,
        version=options.version,
        protocol=options.protocol,
        timeout=options.timeout,
    )
    results, unreadable = [], []
    for start in range(0, len(paths), options.batch_size):
        batch = paths[start : start + options.batch_size]
        contents = [path.read_bytes() for path in batch]
        outputs = server.predict(options.signature, {"image_bytes": contents})
        for row, path in enumerate(batch):
            said = _row(path, outputs, row)
            results.append(said)
            if said["log_probs"][0] is None:
                unreadable.append(str(path))
            else:
                _print(said)
    if options.json:
        text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        write_atomically(as_path(options.json), text)
    if unreadable:
        raise UserError(f"the server cannot read as JPEG or PNG: {', '.join(unreadable)}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m visem_tf.export.client",
        description="Asks a running TensorFlow Serving to describe pictures.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a JPEG or PNG file")
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="where it listens")
    parser.add_argument(
        "--protocol",
        default="auto",
        choices=PROTOCOLS,
        help="auto takes REST for http:// addresses and port 8501, gRPC otherwise",
    )
    parser.add_argument("--model", default=MODEL_NAME, help="the name it is served under")
    parser.add_argument("--version", type=int, help="a version, instead of the latest")
    parser.add_argument(
        "--signature", default="greedy", choices=_SIGNATURES, help="what to ask for"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="pictures in a request")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for an answer")
    parser.add_argument("--json", default="", metavar="FILE", help="write all answers here")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    return parser


def _row(path: AnyPath, outputs: Outputs, row: int) -> dict[str, Any]:
    """What was said of one picture; log-probabilities that are minus infinity are None."""
    said: dict[str, Any] = {"image": str(path)}
    for name, values in outputs.items():
        value = values[row]
        if values.dtype.kind == "O":
            texts = [value] if isinstance(value, bytes) else list(value)
            said[name] = [text.decode() for text in texts]
        else:
            numbers = [value.item()] if value.ndim == 0 else value.tolist()
            said[name] = [None if number == -float("inf") else number for number in numbers]
    return said


def _print(said: dict[str, Any]) -> None:
    captions, boxes = said["captions"], said.get("boxes")
    if boxes is None:
        print(f"{said['image']}: {captions[0]}")
        for caption in captions[1:]:
            print(f"    {caption}")
        return
    print(f"{said['image']}:")
    for box, caption, log_prob in zip(boxes, captions, said["log_probs"], strict=True):
        if log_prob is not None:
            print("    [" + " ".join(f"{edge:.2f}" for edge in box) + f"] {caption}")


if __name__ == "__main__":
    run_command(main)
