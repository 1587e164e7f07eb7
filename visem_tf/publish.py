"""Publishes the models of a finished run: writes a folder that `visem_tf.load` reads.

python -m visem_tf.publish --run-dir runs/f8k --to published/f8k
python -m visem_tf.publish --run-dir runs/f8k --to hf://owner/name --card about.md
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.options import make_parser, option
from visem_tf.errors import UserError
from visem_tf.runtime.files import temporary_folder, write_atomically
from visem_tf.runtime.json_files import write_json
from visem_tf.runtime.outputs import output_folder
from visem_tf.runtime.published import CARD, CARD_FOR_PEOPLE, check_free, deliver, write_digests
from visem_tf.runtime.startup import start_tensorflow
from visem_tf.runtime.storage import as_path, read_regular, reason_of

if TYPE_CHECKING:
    from visem_tf.runs.trained_run import TrainedRun


class Options:
    """Options of the command."""

    to = option("PLACE", type=output_folder)
    """A new folder on any storage, or hf://owner/name (pip install 'visem_tf[hub]')."""
    card = option("FILE.md")
    """A text for the card: the data and their terms, limits and biases (default: none)."""


def main(argv: Sequence[str] | None = None) -> None:
    """Publishes the run that the command line names, and prints what was written.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake of the user, or a run without trained models.
    """
    parser = make_parser(
        "publish",
        "Writes the models of a finished run, in 16 bits and with a card, into a folder that "
        "visem_tf.load and --run-dir read. --generate.beam_size and the other options of the "
        "search become the defaults of the published model.",
        Options,
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    if not options.to:
        raise UserError("--to is missing; give a new folder, or hf://owner/name")
    check_free(options.to)
    about = _read_text(options.card) if options.card else ""
    start_tensorflow()
    from visem_tf.runs.trained_run import TrainedRun

    name = options.to.rstrip("/").rpartition("/")[2].partition("@")[0]
    sizes = publish(TrainedRun(config.run_dir, config), options.to, name, about)
    print(f"{options.to} ({sum(sizes.values()) / 1e6:.1f} MB)")
    for file, size in sizes.items():
        print(f"  {file:<20} {size / 1e6:8.3f} MB")


def publish(run: "TrainedRun", place: str, name: str, about: str = "") -> dict[str, int]:
    """Publishes a run, whole or not at all.

    Args:
        run: Finished run, or published model.
        place: New folder on any storage, or `hf://owner/name`.
        name: Name of the model.
        about: Text for the card, in Markdown.

    Returns:
        Sizes of the files in bytes.

    Raises:
        UserError: The place has files already or cannot be used, or the run cannot be published.
    """
    from visem_tf.report.card import card_as_markdown, make_card
    from visem_tf.runs.publishing import write_model

    with temporary_folder() as temporary:
        folder = temporary / "model"
        card = make_card(run, name, write_model(run, folder), about)
        write_json(folder / CARD, card)
        write_atomically(folder / CARD_FOR_PEOPLE, card_as_markdown(card))
        write_digests(folder)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        deliver(folder, place)
    return sizes


def _read_text(path: str) -> str:
    try:
        return read_regular(as_path(path)).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"cannot read the card {path}: {reason}") from error


if __name__ == "__main__":
    run_command(main)
