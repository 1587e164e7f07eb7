"""The columns of tables of captions, by any of their usual names."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from visem_tf.datasets.problems import Problems
from visem_tf.runtime.storage import AnyPath

COLUMNS = {
    "image": "image imagename imagefile filename file imagepath filepath path imageid img picture",
    "caption": "caption captions sentence sentences text comment description raw",
    "number": "commentnumber captionnumber sentencenumber number captionid",
    "split": "split subset partition",
}
"""The usual names of each column, the first that a table has being the column; without regard to
case and to what is neither letter nor digit."""

NO_NUMBER = -1
"""Number of a caption where a table gives none."""


class CaptionRow(NamedTuple):
    """A caption of an image.

    Attributes:
        name: Name of the image file.
        number: Number of the caption among those of the image; -1 if the table has none.
        caption: The sentence.
        split: Name of the split in the spelling of the table; None if it names none.
    """

    name: str
    number: int
    caption: str
    split: str | None = None


def roles_of(names: Sequence[str]) -> tuple[str, ...] | None:
    """Returns the column of `COLUMNS` that each name of a header stands for, or "".

    Args:
        names: Names of the columns of a table.

    Returns:
        A role for each name; None if there is no column of images or none of captions.

    Example:
        >>> roles_of(["id", "File Name", "text"])
        ('', 'image', 'caption')
    """
    plain = [re.sub(r"[\W_]", "", name.lower()) for name in names]
    roles = [""] * len(plain)
    for role, synonyms in COLUMNS.items():
        place = next((plain.index(name) for name in synonyms.split() if name in plain), None)
        if place is not None:
            roles[place] = role
    return tuple(roles) if {"image", "caption"} <= set(roles) else None


def say_columns(
    path: AnyPath, names: Sequence[str], columns: Sequence[str], problems: Problems
) -> None:
    """Says which columns are read, unless they are all that there are.

    Args:
        path: Path of the table.
        names: Names of its columns.
        columns: What each of them is, as `roles_of` returns it.
        problems: Receives the line.
    """
    if "" in columns:
        read = [name.strip() for name, column in zip(names, columns, strict=True) if column]
        unused = len(columns) - len(read)
        problems.decisions.append(
            f"{path.name}: the columns {', '.join(read)} are read; {unused} others are not used"
        )
