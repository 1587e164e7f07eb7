"""The exception for mistakes of the user."""

import re

_LONGEST_WORD = 400
_KEPT = 100


class UserError(Exception):
    """A mistake of the user: a missing path, an unknown option, an unreadable image.

    The message says in one line what is wrong and what to do. Commands print it without a
    traceback and end with exit status 2. Mistakes in calls of functions are `ValueError`.

    Args:
        message: One line that says what is wrong and what to do. Paths, names and other values of
            more than 400 characters without a blank are shortened in the middle.

    Example:
        >>> raise UserError("data_dir /data/flickr is missing; give --data-dir")
        Traceback (most recent call last):
        ...
        visem_tf.errors.UserError: data_dir /data/flickr is missing; give --data-dir
    """

    def __init__(self, message: str) -> None:
        super().__init__(re.sub(rf"\S{{{_LONGEST_WORD + 1},}}", _shortened, message))


def _shortened(found: re.Match[str]) -> str:
    return f"{found[0][:_KEPT]}…{found[0][-_KEPT:]}"
