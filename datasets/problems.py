"""What was found wrong with a data set while it was prepared, kept beside the prepared files."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator

from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import as_path

FILE_NAME = "problems.json"

_LIMIT: contextvars.ContextVar[int | None] = contextvars.ContextVar("limit", default=5)


@dataclasses.dataclass
class Problems:
    """What a reader found.

    Attributes:
        skipped: pictures that a split names and that could not be used, each with the reason.
        notes: what was mended or dropped without losing a picture.
        decisions: what was decided where the data leave it open; nothing is wrong with them.
    """

    skipped: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    decisions: list[str] = dataclasses.field(default_factory=list)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the problems as `problems.json` into a folder."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=2)
        # A name from an undecodable file name may hold half a surrogate pair.
        write_atomically(as_path(folder) / FILE_NAME, text.encode("utf-8", "replace") + b"\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Problems:
        """Reads them again; a folder without the file had none."""
        path = as_path(folder) / FILE_NAME
        if not path.is_file():
            return cls()
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def listed(names: Iterable[str], limit: int | None = None) -> str:
    """Returns a few names and how many more there are; all of them within `everything_listed`.

    Args:
        names: what is listed.
        limit: how many are named; 5 by default.

    Example:
        >>> listed(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    names = list(names)
    limit = _LIMIT.get() if limit is None else limit
    if limit is None or len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


@contextlib.contextmanager
def everything_listed() -> Iterator[None]:
    """Lets `listed` name all there is, however much it is.

    Example:
        >>> with everything_listed():
        ...     listed("abcdefg")
        'a, b, c, d, e, f, g'
    """
    token = _LIMIT.set(None)
    try:
        yield
    finally:
        _LIMIT.reset(token)
