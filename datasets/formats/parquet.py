"""Captions in a Parquet file, with columns named as in `visem_tf.datasets.formats.columns`."""

from visem_tf.datasets.formats.columns import NO_NUMBER, CaptionRow, roles_of, say_columns
from visem_tf.datasets.problems import Problems, add_listed
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, readable, reason_of


def read_parquet(path: AnyPath, problems: Problems) -> list[CaptionRow]:
    """Reads such a file.

    Args:
        path: Path of the file.
        problems: Receives the rows that cannot be used, and which columns are not read.

    Raises:
        UserError: If the file cannot be read, or has no columns of images and captions.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(readable(path)) as file:
            names = file.schema_arrow.names
            columns = roles_of(names)
            if columns is None:
                raise UserError(
                    f"{path} has the columns {', '.join(names)}, which name no images and "
                    "captions; rename them image and caption"
                )
            wanted = {role: name for role, name in zip(columns, names, strict=True) if role}
            read = file.read(columns=list(wanted.values()))
            values = {role: read[name].to_pylist() for role, name in wanted.items()}
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"cannot read {path} ({reason_of(error)}); fix or replace it") from error
    say_columns(path, names, columns, problems)
    rows: list[CaptionRow] = []
    malformed = []
    for place, image in enumerate(values["image"]):
        name = image.get("path") if isinstance(image, dict) else image
        captions = values["caption"][place]
        captions = captions if isinstance(captions, list) else [captions]
        if not name or not all(isinstance(text, str) for text in captions):
            malformed.append(str(place))
            continue
        number = values["number"][place] if "number" in values and len(captions) == 1 else None
        split = values["split"][place] if "split" in values else None
        rows += [
            CaptionRow(
                str(name),
                number if isinstance(number, int) else NO_NUMBER,
                text.strip(),
                None if split is None else str(split),
            )
            for text in captions
        ]
    message = f"{path.name}: skipped {len(malformed)} rows without an image name or a caption"
    add_listed(problems.notes, message, malformed)
    return rows
