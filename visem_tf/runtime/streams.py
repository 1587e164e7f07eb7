"""Standard streams as users have them: closed, full, or of an encoding without some letters."""

import os
import sys
import unicodedata


def prepare_standard_streams() -> None:
    """Makes the standard streams usable, whatever they are.

    A closed stream is replaced by the null device, also for native code. Letters that the encoding
    of a stream lacks are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def without_controls(text: str) -> str:
    r"""Returns a text without anything but line ends that could control a terminal.

    Args:
        text: Any text, such as a file name; control characters and undecodable bytes become `�`.

    Example:
        >>> without_controls("a\x1b[31m.jpg")
        'a�[31m.jpg'
    """
    return "".join(
        # Of the spaces, which names of screenshots contain, only the usual one is printable.
        each if each.isprintable() or each == "\n" or unicodedata.category(each) == "Zs" else "�"
        for each in text
    )


def tell(message: str) -> None:
    """Prints a message of the program on the standard error, without control characters."""
    print(f"visem_tf: {without_controls(message)}", file=sys.stderr)


def warn(message: str) -> None:
    """Prints a warning on the standard error."""
    tell(f"warning: {message}")


def discard_output() -> None:
    """Discards what the streams for output cannot take, so that Python's end does not try again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
