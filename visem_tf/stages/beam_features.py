"""Stage features on many machines: Apache Beam distributes the shards of the feature cache.

Needs the extra `beam`. Every machine reads the images itself and writes whole shards; therefore all
machines must see the data, one cache folder and the run directory under the same paths.
"""

import functools
from collections.abc import Iterable

from visem_tf.config import Config
from visem_tf.datasets.loading import load_configured
from visem_tf.datasets.recognising import recognised
from visem_tf.errors import UserError
from visem_tf.runtime.storage import is_remote
from visem_tf.stages.features import CacheFiller, trained_weights

_SHARDS_PER_PIECE = 8
"""Shards that a machine extracts at a time; every piece reads the images from their beginning."""


def run_pipeline(config: Config, arguments: Iterable[str] = ()) -> dict[str, int]:
    """Fills the feature caches of all splits; existing features are kept.

    Args:
        config: Configuration of the data, the regions and the cache.
        arguments: Arguments of Beam, such as `--runner=FlinkRunner`; without them, the local
            runner of Beam runs the pipeline.

    Returns:
        Number of images of each split whose features were extracted.

    Raises:
        UserError: Beam is missing, rejects an argument, or the data cannot be used.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        raise UserError(
            "extract needs Apache Beam: python -m pip install 'visem_tf[beam]'"
        ) from error
    if is_remote(config.cache_dir):
        raise UserError(
            f"extract needs a cache folder that all workers see, not {config.cache_dir}; give "
            "--cache-dir on a shared disk"
        )
    config = recognised(config)
    filler = CacheFiller(config, load_configured(config), trained_weights(config))
    splits = filler.data.splits
    missing = {split: filler.cache(split).missing() for split in splits}
    counts = {
        split: sum(map(filler.cache(split).shard_size, shards)) for split, shards in missing.items()
    }
    pieces = [
        (split, shards[start : start + _SHARDS_PER_PIECE])
        for split, shards in missing.items()
        for start in range(0, len(shards), _SHARDS_PER_PIECE)
    ]
    if not pieces:
        return counts
    try:
        options = PipelineOptions(list(arguments))
        options.get_all_options()
    except SystemExit as error:  # argparse, which has printed the reason
        raise UserError(f"Apache Beam does not accept {' '.join(arguments)}") from error
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Pieces" >> beam.Create(pieces)
            | "Distribute" >> beam.Reshuffle()
            | "Extract" >> beam.Map(_fill, config.to_json())
        )
    if unfinished := [split for split in splits if filler.cache(split).missing()]:
        raise UserError(
            f"the pipeline ended, but shards of {', '.join(unfinished)} are not in "
            f"{config.cache_dir}; all workers must write to one folder, which this machine sees too"
        )
    return counts


def _fill(piece: tuple[str, list[int]], config: str) -> None:
    """Fills some shards of a split, except those that another attempt has written."""
    split, shards = piece
    filler = _filler(config)
    missing = set(filler.cache(split).missing())
    filler.fill(split, [shard for shard in shards if shard in missing])


@functools.lru_cache(maxsize=1)
def _filler(config: str) -> CacheFiller:
    """Reads the data set and loads the CNN, once in every process."""
    parsed = Config.from_json(config)
    return CacheFiller(parsed, load_configured(parsed), trained_weights(parsed))
