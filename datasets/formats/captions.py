"""Tables of captions, and the images that they name."""

from collections.abc import Iterable, Mapping, Sequence

from visem_tf.datasets.formats.columns import NO_NUMBER, CaptionRow
from visem_tf.datasets.formats.delimited import read_delimited
from visem_tf.datasets.formats.parquet import read_parquet
from visem_tf.datasets.problems import Problems, add_listed
from visem_tf.datasets.records import Record
from visem_tf.runtime.storage import AnyPath


def read_table(path: AnyPath, problems: Problems) -> list[CaptionRow]:
    """Reads a table of captions.

    Args:
        path: Path of the file: Parquet if it is named `.parquet`, otherwise text.
        problems: Receives what was wrong with the file, and which columns are not read.

    Raises:
        UserError: If the file cannot be read, or its columns are not recognised.
    """
    if path.suffix.lower() == ".parquet":
        rows = read_parquet(path, problems)
    else:
        rows = read_delimited(path, problems)
    seen, repeated = set(), []
    for row in rows:
        key = row.name, row.number
        if row.number != NO_NUMBER and key in seen:
            repeated.append(f"{row.name}#{row.number}")
        seen.add(key)
    add_listed(problems.notes, f"{path.name}: kept captions that share a number", repeated)
    return rows


def captions_by_name(rows: Iterable[CaptionRow]) -> dict[str, list[str]]:
    """Returns the captions of each file name, ordered by their numbers, then by their places."""
    return {name: sentences for (name, _), sentences in _grouped(rows).items()}


def table_records(rows: Iterable[CaptionRow], images: AnyPath) -> list[Record]:
    """Returns a record for each image of a table, with its split where the table names one.

    Args:
        rows: Rows of the table.
        images: Folder of the images.
    """
    return [
        Record(name, images / name, sentences, file_name=name, split=split)
        for (name, split), sentences in _grouped(rows).items()
    ]


def caption_records(captions: Mapping[str, Sequence[str]], images: AnyPath) -> list[Record]:
    """Returns a record for each file name.

    Args:
        captions: Captions of each file name.
        images: Folder of the images.
    """
    return [
        Record(name, images / name, sentences, file_name=name)
        for name, sentences in captions.items()
    ]


def _grouped(rows: Iterable[CaptionRow]) -> dict[tuple[str, str | None], list[str]]:
    found: dict[tuple[str, str | None], list[CaptionRow]] = {}
    for row in rows:
        found.setdefault((row.name, row.split), []).append(row)
    return {
        key: [row.caption for row in sorted(part, key=lambda row: row.number)]
        for key, part in found.items()
    }
