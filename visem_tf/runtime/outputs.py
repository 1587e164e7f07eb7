"""Checks of places to write to, before work begins whose results would be lost."""

import argparse
import os
import stat
import tempfile
from pathlib import Path

from visem_tf.runtime.storage import as_path, is_remote, reason_of


def output_file(text: str) -> str:
    """Returns the path of a file to be written, as argparse's `type`.

    Args:
        text: Path on any storage; places on the disk are checked. Empty stands for none.

    Raises:
        argparse.ArgumentTypeError: The path is a folder, or no file can be made there.

    Example:
        >>> output_file("/dev/stdout/report.json")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: /dev/stdout is not a folder; give another place
    """
    if text and not is_remote(text):
        path = Path(as_path(text))
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            raise argparse.ArgumentTypeError(f"{path} is a folder; give a file")
        if not mode or stat.S_ISREG(mode):  # else a pipe or a device
            _check_folder(path.parent)
    return text


def output_folder(text: str) -> str:
    """Returns the path of a folder to write to, which need not exist, as argparse's `type`.

    Args:
        text: Path on any storage; places on the disk are checked. Empty stands for none.

    Raises:
        argparse.ArgumentTypeError: The path is a file, or no file can be made there.
    """
    if text and not is_remote(text):
        path = Path(as_path(text))
        _mode(path)
        _check_folder(path)
    return text


def _mode(path: Path) -> int:
    """The kind of a file; 0 if there is none."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be used ({reason_of(error)})") from error


def _check_folder(folder: Path) -> None:
    """Makes a file without a name in the nearest folder that exists."""
    try:
        while not os.path.lexists(folder):
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except NotADirectoryError as error:
        raise argparse.ArgumentTypeError(f"{folder} is not a folder; give another place") from error
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"{folder} cannot be written ({reason_of(error)}); give another place"
        ) from error
