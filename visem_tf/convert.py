"""Writes a data set, or its region features, in a format that other programs read.

    python -m visem_tf.convert --dataset flickr8k --data-dir Flickr8k --format scan --to precomp/

- coco: images, `captions.json` and boxes of phrases, as `--dataset coco_json` reads them.
- scan: region features as `{train,dev,test}_ims.npy` with `_caps.txt`, for VSE++ and SCAN.
- cache: region features with sentences and boxes, as `--dataset precomputed` reads them.

Region features are those of the CNN and the proposer that the run in `--run-dir` has trained, or of
the ones in the package if there is no run.
"""

from collections.abc import Sequence

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.options import make_parser, option
from visem_tf.errors import UserError
from visem_tf.runtime.outputs import output_folder
from visem_tf.runtime.startup import start_tensorflow
from visem_tf.runtime.streams import warn


class Options:
    """Options of the command."""

    to = option("DIR", required=True, type=output_folder)
    """A new or empty output folder."""
    format = option(required=True, choices=("coco", "scan", "cache"))
    """The output format."""


def main(argv: Sequence[str] | None = None) -> None:
    """Converts the data set that the command line names.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake of the user.
    """
    description = "Writes a data set or its features for other programs."
    parser = make_parser("convert", description, Options)
    config, options = parse_arguments(parser, argv)
    from visem_tf.runtime.storage import as_path

    folder = as_path(options.to)
    if folder.exists() and (not folder.is_dir() or any(True for _ in folder.iterdir())):
        raise UserError(f"{folder} is not empty; give a new folder with --to")
    start_tensorflow()
    from visem_tf.datasets.loading import load_configured
    from visem_tf.datasets.recognising import recognised
    from visem_tf.datasets.writing import write_coco
    from visem_tf.regions.feature_formats import write_cache, write_scan
    from visem_tf.stages.features import fill_caches, trained_weights

    config = recognised(config)
    data = load_configured(config)
    if options.format == "coco":
        write_coco(data, folder)
    else:
        for split, cache in fill_caches(config, data, weights=trained_weights(config)).items():
            if options.format == "cache":
                write_cache(data.splits[split], cache, folder)
            elif others := write_scan(data.splits[split], cache, folder):
                warn(
                    f"{others} images of {split} do not have five sentences; further sentences "
                    "were left out, missing ones repeated"
                )
    count = sum(len(split.image_ids) for split in data.splits.values())
    print(f"wrote {count:,} images as {options.format} to {folder}")


if __name__ == "__main__":
    run_command(main)
