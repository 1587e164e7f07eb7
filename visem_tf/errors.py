"""The exception for mistakes of the user."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user: a missing path, an unknown option, an unreadable image.

    The message says in one line what is wrong and what to do. Commands print it without a
    traceback and end with exit status 2. Mistakes in calls of functions are `ValueError`.

    Args:
        message: One line that says what is wrong and what to do.

    Example:
        >>> raise UserError("data_dir /data/flickr is missing; give --data-dir")
        Traceback (most recent call last):
        ...
        visem_tf.errors.UserError: data_dir /data/flickr is missing; give --data-dir
    """
