"""The problems found in a dataset while it was prepared, stored beside the prepared files."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence

from visem_tf.errors import UserError
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.storage import as_path

FILE_NAME = "problems.json"

_LIMIT: contextvars.ContextVar[int | None] = contextvars.ContextVar("limit", default=5)


@dataclasses.dataclass
class Problems:
    """The problems that a reader found.

    Attributes:
        skipped: Images of a split that cannot be used, each with the reason.
        notes: Corrections, and texts or boxes that were dropped, none of which cost an image.
        decisions: Choices that the data leave open; they are not errors.
    """

    skipped: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    decisions: list[str] = dataclasses.field(default_factory=list)

    def lines(self) -> list[str]:
        """Returns all problems: the skipped images, then the notes, then the decisions."""
        return [*(f"skipped {line}" for line in self.skipped), *self.notes, *self.decisions]

    def require_no_skipped(self, name: str) -> None:
        """Raises an error if an image was skipped, as the option `--strict` asks.

        Args:
            name: Name of the dataset, for the message.

        Raises:
            UserError: If an image was skipped.
        """
        if self.skipped:
            raise UserError(
                f"{name}: {len(self.skipped)} images cannot be used, the first is "
                f"{self.skipped[0]}; fix them or leave --strict out"
            )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the problems as `problems.json` into a folder."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=2)
        # A file name that could not be decoded may contain half of a surrogate pair.
        write_atomically(as_path(folder) / FILE_NAME, text.encode("utf-8", "replace") + b"\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Problems:
        """Reads the problems that `save` wrote; a folder without the file has none."""
        path = as_path(folder) / FILE_NAME
        return cls(**parse_json(path.read_bytes(), cls)) if path.is_file() else cls()


def add_listed(messages: list[str], message: str, names: Sequence[str]) -> None:
    """Appends a message that ends with a list of names, unless there are no names.

    Args:
        messages: List that receives the message.
        message: Text that stands before the names.
        names: Names to list.

    Example:
        >>> notes = []
        >>> add_listed(notes, "dropped empty boxes", ["a.jpg", "b.jpg"])
        >>> add_listed(notes, "dropped empty sentences", [])
        >>> notes
        ['dropped empty boxes: a.jpg, b.jpg']
    """
    if names:
        messages.append(f"{message}: {listed(names)}")


def listed(names: Sequence[str], limit: int | None = None) -> str:
    """Returns the first names and how many more there are; all names within `everything_listed`.

    Args:
        names: Names to list.
        limit: Number of names to write out; 5 by default.

    Example:
        >>> listed(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    limit = _LIMIT.get() if limit is None else limit
    if limit is None or len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


@contextlib.contextmanager
def everything_listed() -> Iterator[None]:
    """Makes `listed` write out all names, however many there are.

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
