"""The first stage on many machines: Apache Beam shares out the shards of the feature cache.

Needs the extra `beam`. Every machine reads the pictures for itself and writes whole shards; so all
of them must see the data and one cache folder under the same paths.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from visem_tf.config import Config
from visem_tf.datasets.caption_dataset import CaptionDataset
from visem_tf.datasets.loading import load_configured
from visem_tf.errors import UserError
from visem_tf.runtime.storage import is_remote
from visem_tf.stages.features import Describer, cache_of

SHARDS_AT_A_TIME = 8
"""Shards of one piece of work: reading begins anew for each piece."""

Piece = tuple[str, list[int]]
"""A split, and some of its shards."""


def run_pipeline(config: Config, arguments: Iterable[str] = ()) -> dict[str, int]:
    """Fills the feature cache of all splits; what is there already is kept.

    Args:
        config: names the data, the regions and the cache.
        arguments: Beam's own, such as `--runner=FlinkRunner`; by default Beam's local runner.

    Returns:
        The pictures that were described, by split.

    Raises:
        UserError: Beam is missing or does not know an argument, or the data cannot be used.
    """
    beam = _apache_beam()
    if is_remote(config.cache_dir):
        raise UserError(
            f"extract writes to a folder that all workers see, not to {config.cache_dir}; give "
            "--cache-dir on a shared disk"
        )
    data = load_configured(config)
    work = pieces(config, data)
    found = dict.fromkeys(data.splits, 0)
    for split, shards in work:
        cache = cache_of(config, data, split)
        found[split] += sum(cache.shard_size(shard) for shard in shards)
    if not work:
        return found
    options = _options(list(arguments))
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Pieces" >> beam.Create(work)
            | "Spread" >> beam.Reshuffle()
            | "Describe" >> beam.Map(Describe(config.to_json()))
        )
    missing = [split for split in data.splits if cache_of(config, data, split).missing()]
    if missing:
        raise UserError(
            f"the pipeline ended, but shards of {', '.join(missing)} are not in "
            f"{config.cache_dir}; all workers must write to one folder, which this machine sees too"
        )
    return found


def pieces(config: Config, data: CaptionDataset) -> list[Piece]:
    """The work that is left, in pieces of neighbouring shards."""
    found: list[Piece] = []
    for split in data.splits:
        missing = cache_of(config, data, split).missing()
        for start in range(0, len(missing), SHARDS_AT_A_TIME):
            found.append((split, missing[start : start + SHARDS_AT_A_TIME]))
    return found


class Describe:
    """Describes the pictures of some shards, and writes them.

    Args:
        config: as `Config.to_json` writes it.
    """

    def __init__(self, config: str) -> None:
        self.config = config

    def __call__(self, piece: Piece) -> str:
        """Describes a piece; shards that another attempt has written are kept."""
        split, shards = piece
        describer = _describer(self.config)
        missing = set(cache_of(describer.config, describer.data, split).missing())
        describer.describe(split, [shard for shard in shards if shard in missing])
        return split


@functools.lru_cache(maxsize=1)
def _describer(config: str) -> Describer:
    """The data set's lists and the CNN, read once in every process."""
    known = Config.from_json(config)
    return Describer(known, load_configured(known))


def _apache_beam() -> Any:
    try:
        import apache_beam
    except ModuleNotFoundError as error:
        raise UserError(
            "extract needs Apache Beam: python -m pip install 'visem_tf[beam]'"
        ) from error
    return apache_beam


def _options(arguments: list[str]) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        options = PipelineOptions(arguments)
        options.get_all_options()
    except SystemExit as error:  # of argparse, which has told why
        raise UserError(f"Apache Beam does not accept {' '.join(arguments)}") from error
    return options
