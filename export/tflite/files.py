"""The texts that are packed with a TFLite model.

A `.tflite` file is a FlatBuffer, and interpreters ignore what follows it. As TFLite's metadata do,
a ZIP archive is appended, so that `zipfile` and `unzip` open the model:

    unzip -l captions-float32.tflite
"""

import os
import zipfile
from pathlib import Path


def pack(path: str | os.PathLike[str], texts: dict[str, str]) -> None:
    """Appends texts to a model file as an archive.

    Args:
        path: File of the model.
        texts: Texts by their file names in the archive.
    """
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)


def unpack(path: str | os.PathLike[str], name: str) -> str:
    """Reads a text that `pack` appended."""
    with zipfile.ZipFile(Path(path)) as archive:
        return archive.read(name).decode()
