"""TFLite files as data: joining two into one, and what is packed behind the model.

A `.tflite` file is a FlatBuffer; what comes after it is left alone by interpreters. The convention
of TFLite's metadata is to append a ZIP archive, so that `zipfile` and `unzip` open the model:

    unzip -l captions-float32.tflite
"""

import os
import zipfile
from pathlib import Path
from typing import Any

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils


def joined(one: bytes, other: bytes) -> bytes:
    """Joins two models into one that has the signatures of both.

    Args:
      one: The first model.
      other: Another one, with other signatures.

    Returns:
      The model.
    """
    first, second = (
        flatbuffer_utils.convert_bytearray_to_object(bytearray(m)) for m in (one, other)
    )
    buffers, operators = len(first.buffers), len(first.operatorCodes)
    graphs = len(first.subgraphs)
    for graph in second.subgraphs:
        for tensor in graph.tensors:
            # Buffer 0 is the empty one, of every tensor that is computed.
            tensor.buffer = tensor.buffer + buffers if tensor.buffer else 0
        for operator in graph.operators or []:
            operator.opcodeIndex += operators
            _shift_graphs(operator.builtinOptions, graphs)
    for signature in second.signatureDefs or []:
        signature.subgraphIndex += graphs
    first.buffers += second.buffers
    first.operatorCodes += second.operatorCodes
    first.subgraphs += second.subgraphs
    first.signatureDefs = (first.signatureDefs or []) + (second.signatureDefs or [])
    return bytes(flatbuffer_utils.convert_object_to_bytearray(first))


def operators(model: bytes) -> set[str]:
    """The operators of a model: builtin ones in capitals, custom ones in quotes.

    Args:
      model: A TFLite model.
    """
    names = {
        code: name
        for name, code in vars(schema.BuiltinOperator).items()
        if not name.startswith("_")
    }
    found = set()
    for code in flatbuffer_utils.convert_bytearray_to_object(bytearray(model)).operatorCodes:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        custom = number == schema.BuiltinOperator.CUSTOM
        found.add(f'"{code.customCode.decode()}"' if custom else names[number])
    return found


def pack(path: str | os.PathLike[str], files: dict[str, str]) -> None:
    """Appends texts to a model, as an archive that `zipfile` reads from the same file.

    Args:
      path: The model.
      files: Names to texts.
    """
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def packed(path: str | os.PathLike[str], name: str) -> str:
    """Reads a text that `pack` appended."""
    with zipfile.ZipFile(Path(path)) as archive:
        return archive.read(name).decode()


_GRAPHS = ("condSubgraphIndex", "bodySubgraphIndex", "thenSubgraphIndex", "elseSubgraphIndex")


def _shift_graphs(options: Any, by: int) -> None:
    """Moves the numbers of the graphs that a loop or a condition runs."""
    for name in _GRAPHS:
        if hasattr(options, name):
            setattr(options, name, getattr(options, name) + by)


def _opened(model: bytes) -> Any:
    return flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
