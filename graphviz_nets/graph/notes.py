"""Notes: what the IR has and ONNX has no place for, as metadata whose keys begin with ``gvn.``.

================== ======================================================================================
model              ``gvn.ir`` (marks our files), ``gvn.framework``, ``gvn.scopes``, ``gvn.problems``
graph              ``gvn.back_edges``; ``gvn.inputs``, ``gvn.outputs`` where ONNX's own lists cannot say it
node               ``gvn.id``, ``gvn.scope``, ``gvn.control``; ``gvn.inputs``, ``gvn.outputs`` as for graphs
graph input        ``gvn.absent`` (a tensor without data), ``gvn.undefined``, ``gvn.cut`` (a back edge)
value, tensor      ``gvn.name`` where a name had to change, ``gvn.role``; ``gvn.dtype``, ``gvn.shape`` and
                   ``gvn.container`` where ONNX has no such type
function body      ``gvn.input``, ``gvn.output``, ``gvn.initializer`` mark what FunctionProto has no field for
================== ======================================================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from graphviz_nets.graph.ir import NOTHING, Shape

DEPTH = 24
"""Graphs inside graphs; protobuf stops at 100 messages inside each other, and a graph in a graph takes three."""

CODES: Mapping[str, int] = {
    name: code for code, name in enumerate(
        "float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32 uint64 complex64 complex128 "
        "bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz uint4 int4 float4e2m1 float8e8m0 uint2 int2 "
        "float6e2m3 float6e3m2".split(), 1,
    )
}  # fmt: skip
DTYPES: Mapping[int, str] = {code: name for name, code in CODES.items()}
KINDS: Mapping[str, int] = {
    "FLOAT": 1, "INT": 2, "STRING": 3, "TENSOR": 4, "GRAPH": 5, "SPARSE_TENSOR": 11, "TYPE_PROTO": 13,
    "FLOATS": 6, "INTS": 7, "STRINGS": 8, "TENSORS": 9, "GRAPHS": 10, "SPARSE_TENSORS": 12, "TYPE_PROTOS": 14,
}  # fmt: skip
KIND_NAMES: Mapping[int, str] = {number: name for name, number in KINDS.items()}
FIELDS: Mapping[str, str] = {
    "FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "SPARSE_TENSOR": "sparse_tensor",
    "TYPE_PROTO": "tp", "FLOATS": "floats", "INTS": "ints", "STRINGS": "strings", "TENSORS": "tensors",
    "GRAPHS": "graphs", "SPARSE_TENSORS": "sparse_tensors", "TYPE_PROTOS": "type_protos",
}  # fmt: skip
OWN = frozenset(
    f"gvn.{key}" for key in (
        "absent attributes back_edges container control cut domain dtype framework function id implied initializer "
        "input inputs ir name op_type opset_imports output outputs overload problems role scope scopes shape undefined"
    ).split()
)  # fmt: skip
FACTS = frozenset({"gvn.dtype", "gvn.shape", "gvn.container"})
ESCAPE = "gvn.="


def dump(data: Any) -> str:
    """Return data as JSON in ASCII, ``NaN`` and ``Infinity`` included.

    Examples
    --------
    >>> dump(("a/b", "é"))
    '["a/b","\\\\u00e9"]'
    """
    return json.dumps(data, separators=(",", ":"), default=dict)


def load(text: str) -> Any:
    """Undo `dump`; what is no number is the one ``math.nan``, so that it compares equal."""
    constants = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    return json.loads(text, parse_constant=constants.__getitem__)


def wrong(what: str) -> NoReturn:
    """Raise ValueError about metadata that is ours and broken."""
    raise ValueError(f"the metadata {what}")


def strings(data: Any) -> tuple[str, ...]:
    """Return a list of strings as a tuple, or raise ValueError."""
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        wrong("should list strings")
    return tuple(data)


def dims(data: Any) -> Shape:
    """Return a list of dimensions as a shape, or raise ValueError."""
    if not isinstance(data, list) or not all(dim is None or isinstance(dim, (int, str)) for dim in data):
        wrong("should be a shape")
    return tuple(data)


def texts(data: Any) -> dict[str, str]:
    """Return an object whose values are strings, or raise ValueError."""
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        wrong("should map strings to strings")
    return data


def put(props: Any, own: Mapping[str, str], given: Mapping[str, str] = NOTHING) -> None:
    """Append our own entries and the object's, whose keys are escaped where they look like ours."""
    for key, text in own.items():
        props.add(key=key, value=text)
    for key, text in given.items():
        props.add(key=ESCAPE + key if key in OWN or key.startswith(ESCAPE) else key, value=text)


def take(props: Iterable[Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return our own entries and the object's."""
    own: dict[str, str] = {}
    given: dict[str, str] = {}
    for entry in props:
        if entry.key in OWN:
            own[entry.key] = entry.value
        else:
            given[entry.key.removeprefix(ESCAPE)] = entry.value
    return own, given


def exact(own: dict[str, str], key: str, wanted: Sequence[str], written: Sequence[str]) -> None:
    """Note the names that the IR has where ONNX had to be given others."""
    if list(wanted) != list(written):
        own[key] = dump(list(wanted))


def text(texts: Iterable[bytes]) -> tuple[str, ...] | None:
    """Return byte strings decoded, None where any is no UTF-8."""
    try:
        return tuple(text.decode() for text in texts)
    except UnicodeDecodeError:
        return None
