"""Captions in a Parquet file, with columns named as in `visem_tf.datasets.formats.columns`.

Images that the file contains, as Hugging Face's Datasets write them, are not read: their `path` is
the name of the image.
"""

from typing import Any

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
        UserError: If the file cannot be read, or has no columns of images and captions, or contains
            images without their paths.
    """
    import pyarrow
    from pyarrow import parquet

    found: list[Any] = []
    try:
        with parquet.ParquetFile(readable(path)) as file:
            names = file.schema_arrow.names
            columns = roles_of(names)
            if columns is None:
                raise UserError(
                    f"{path} has the columns {', '.join(names)}, which name no images and "
                    "captions; rename them image and caption"
                )
            wanted = {name: role for role, name in zip(columns, names, strict=True) if role}
            [image] = [name for name, role in wanted.items() if role == "image"]
            kind, read = file.schema_arrow.field(image).type, list(wanted)
            if pyarrow.types.is_struct(kind):
                if kind.get_field_index("path") < 0:
                    raise UserError(
                        f"{path} contains images without their paths; save them as files and name "
                        "them in the column image"
                    )
                read[read.index(image)] = f"{image}.path"
            for batch in file.iter_batches(columns=read):
                found += [
                    {wanted[name]: value for name, value in row.items()}
                    for row in batch.to_pylist()
                ]
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"cannot read {path} ({reason_of(error)}); fix or replace it") from error
    say_columns(path, names, columns, problems)
    rows: list[CaptionRow] = []
    malformed = []
    for place, row in enumerate(found):
        name = row["image"].get("path") if isinstance(row["image"], dict) else row["image"]
        captions = row["caption"] if isinstance(row["caption"], list) else [row["caption"]]
        if not name or not all(isinstance(text, str) for text in captions):
            malformed.append(str(place))
            continue
        number, split = row.get("number"), row.get("split")
        is_number = isinstance(number, int) and len(captions) == 1
        rows += [
            CaptionRow(
                str(name),
                number if is_number else NO_NUMBER,
                text.strip(),
                None if split is None else str(split),
            )
            for text in captions
        ]
    message = f"{path.name}: skipped {len(malformed)} rows without an image name or a caption"
    add_listed(problems.notes, message, malformed)
    return rows
