"""TFLite models as objects: joining two models, and the operators of a model."""

from typing import Any

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

_SUBGRAPH_OPTIONS = (
    "condSubgraphIndex",
    "bodySubgraphIndex",
    "thenSubgraphIndex",
    "elseSubgraphIndex",
)


def join_models(one: bytes, other: bytes) -> bytes:
    """Returns a TFLite model with the signatures of two models, whose names must differ."""
    first, second = _parse(one), _parse(other)
    num_buffers, num_operators = len(first.buffers), len(first.operatorCodes)
    num_graphs = len(first.subgraphs)
    for graph in second.subgraphs:
        for tensor in graph.tensors:
            # Buffer 0 is the empty buffer of all computed tensors.
            tensor.buffer = tensor.buffer + num_buffers if tensor.buffer else 0
        for operator in graph.operators or []:
            operator.opcodeIndex += num_operators
            for name in _SUBGRAPH_OPTIONS:  # of loops and conditions
                if hasattr(operator.builtinOptions, name):
                    index = getattr(operator.builtinOptions, name)
                    setattr(operator.builtinOptions, name, index + num_graphs)
    for signature in second.signatureDefs or []:
        signature.subgraphIndex += num_graphs
    first.buffers += second.buffers
    first.operatorCodes += second.operatorCodes
    first.subgraphs += second.subgraphs
    first.signatureDefs = (first.signatureDefs or []) + (second.signatureDefs or [])
    return bytes(flatbuffer_utils.convert_object_to_bytearray(first))


def operators(model: bytes) -> set[str]:
    """Returns the operators of a TFLite model: builtin ones in capitals, custom ones in quotes."""
    names = {
        code: name
        for name, code in vars(schema.BuiltinOperator).items()
        if not name.startswith("_")
    }
    found = set()
    for code in _parse(model).operatorCodes:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        is_custom = number == schema.BuiltinOperator.CUSTOM
        found.add(f'"{code.customCode.decode()}"' if is_custom else names[number])
    return found


def _parse(model: bytes) -> Any:
    return flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
