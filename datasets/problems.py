"""What was found wrong with a data set while it was prepared, kept beside the prepared files."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path

from visem_tf.files import write_atomically

FILE_NAME = "problems.json"


@dataclasses.dataclass
class Problems:
    """What a reader found.

    Attributes:
        skipped: pictures that a split names and that could not be used, each with the reason.
        notes: what was mended, dropped or decided without losing a picture.
    """

    skipped: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the problems as `problems.json` into a folder."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=2)
        # A name from an undecodable file name may hold half a surrogate pair.
        write_atomically(Path(folder) / FILE_NAME, text.encode("utf-8", "replace") + b"\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Problems:
        """Reads them again; a folder without the file had none."""
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            return cls()
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def listed(names: Iterable[str], limit: int = 5) -> str:
    """Returns a few names and how many more there are.

    Example:
        >>> listed(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    names = list(names)
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
