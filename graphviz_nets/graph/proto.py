"""The IR as ONNX: to and from ModelProto, files and bytes, losslessly.

``from_proto(to_proto(model)) == model``, and ``onnx.checker`` accepts what is written, as long as ONNX's own operations
are used as ONNX defines them. What ONNX has no place for stands in metadata: see :mod:`graphviz_nets.graph.notes`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from graphviz_nets.errors import ConvertError, GraphError, LimitError, ParseError
from graphviz_nets.files import replacing
from graphviz_nets.graph.decode import Reader
from graphviz_nets.graph.encode import Writer
from graphviz_nets.graph.ir import ITEM_BITS, NOTHING, Model, Tensor, Value, graphs

if TYPE_CHECKING:
    import onnx

LARGEST = (2 << 30) - 1
"""Bytes of a file that protobuf can read."""
EMBED = 1_900_000_000
"""Bytes of weights from which on they are written to a file of their own."""


def to_proto(model: Model, *, strict: bool = True) -> onnx.ModelProto:
    """Return the model as a ModelProto (IR version 10).

    Parameters
    ----------
    model : Model
        Any model, runnable or not.
    strict : bool
        Write what ``onnx.checker`` accepts: inputs of unknown type get a stand-in, outputs of unknown type are only
        named in metadata. False writes both as they are, which runtimes and shape inference can use.

    Raises
    ------
    GraphError
        When the model holds what protobuf cannot: integers over 64 bits, names with lone surrogates.
    LimitError
        When graphs are nested deeper than `notes.DEPTH`.

    Examples
    --------
    >>> from graphviz_nets.graph.ir import Graph, Model, Node, Value
    >>> graph = Graph("net", (Node("Relu", ("x",), ("y",)),), ("x",), ("y",), {"x": Value("x", "float32", (1, "n"))})
    >>> proto = to_proto(Model(graph))
    >>> proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param
    'n'
    >>> from_proto(proto) == Model(graph)
    True
    """
    return Writer(model, strict).model()


def from_proto(proto: onnx.ModelProto, path: str | os.PathLike[str] = "") -> Model:
    """Return a ModelProto as a Model: one of ours as it was, anybody else's as far as the IR goes.

    In files that we did not write, dimensions called ``?``, ``-1`` or nothing are unknown, and an input that is also
    an initializer (as IR version 3 wants it) is no input.

    Parameters
    ----------
    proto : ModelProto
        Loaded without its external data.
    path : path-like
        Its file, beside which external data is looked for; without it there is none.

    Raises
    ------
    ParseError
        When our own metadata is broken, or an element type is unknown.
    LimitError
        Over a million nodes, or with graphs nested deeper than `notes.DEPTH`.

    Examples
    --------
    >>> import onnx
    >>> proto = onnx.parser.parse_model(
    ...     '<ir_version: 8, opset_import: ["": 17]> net (float[1, n] x) => (float[1, n] y) { y = Relu(x) }'
    ... )
    >>> model = from_proto(proto)
    >>> model.graph.nodes[0].label, model.graph.value("x").shape
    ('Relu', (1, 'n'))
    """
    reader = Reader(proto, os.fspath(path))
    try:
        return reader.model(proto)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
        raise ParseError(f"the model is malformed: {fault}", path=os.fspath(path)) from None


def parse(data: bytes, path: str = "") -> onnx.ModelProto:
    """Parse bytes into a ModelProto.

    Raises
    ------
    ParseError
        When they are no whole ModelProto.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if len(data) > LARGEST:
        raise LimitError(path or "the model", "2 GiB", hint="write its weights as external data")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError) as fault:
        what = "is nested too deeply" if "Exceeded" in str(fault) else "is truncated or broken"
        raise ParseError(f"the file {what}: it is no whole ONNX model", path=path) from None
    if not proto.HasField("graph"):
        raise ParseError("the file is no ONNX model: it has no graph", path=path)
    return proto


def read(path: str | os.PathLike[str]) -> Model:
    """Read an ``.onnx`` file; its external data is read when somebody asks for it.

    Raises
    ------
    ParseError, LimitError, ConvertError
        When it is no model, too large, or cannot be read.
    """
    place = os.fspath(path)
    return from_proto(parse(load(place), place), place)


def load(place: str) -> bytes:
    """Return the bytes of a regular file of at most 2 GiB."""
    try:
        found = os.stat(place)
        if not stat.S_ISREG(found.st_mode):  # asked first: to open a pipe may wait for ever
            raise ConvertError("this is no regular file", path=place)
        if found.st_size > LARGEST:
            raise LimitError(place, "2 GiB", hint="write its weights as external data")
        with open(place, "rb") as file:
            return file.read()
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=place) from None


def write(model: Model, path: str | os.PathLike[str], *, strict: bool = True) -> None:
    """Write an ``.onnx`` file, whole or not at all; over `EMBED` bytes of weights go beside it into ``NAME.onnx.data``.

    `strict` is as in :func:`to_proto`.

    Examples
    --------
    >>> import tempfile
    >>> from graphviz_nets.graph.ir import Graph, Model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Model(Graph("empty")), folder + "/empty.onnx")
    ...     read(folder + "/empty.onnx").name
    'empty'
    """
    place = Path(path)
    try:
        if sum(_sizes(model)) <= EMBED:
            with replacing(place) as file:
                _stream(model, file, strict)
            return
        beside = place.with_name(f"{place.name}.data")
        with replacing(place) as file, replacing(beside) as weights:

            def sink(out: Any, tensor: Tensor, main: bool) -> bool:
                if (tensor.nbytes or 0) < 1024:
                    return False
                weights.seek(-weights.tell() % 64, os.SEEK_CUR)  # as aligned as any runtime asks of mapped memory
                out.data_location = 1
                size = tensor.nbytes
                for key, text in (("location", beside.name), ("offset", weights.tell()), ("length", size)):
                    out.external_data.add(key=key, value=str(text))
                weights.write(_whole(tensor))
                return True

            file.write(_serialize(Writer(model, strict, sink).model()))
            file.flush()  # so that a full disk is noticed before either file is replaced
    except OSError as fault:
        raise ConvertError(f"cannot be written: {fault.strerror}", path=str(place)) from None


def _stream(model: Model, file: BinaryIO, strict: bool) -> None:
    """Write a model whose weights are read one after the other, each when its place in the file has come.

    The order of fields is free in protobuf: the graph comes last in the model, and the weights last in the graph.
    """
    proto = Writer(model, strict, lambda out, tensor, main: main).model()
    tensors = [tensor for tensor in model.graph.initializers.values() if tensor.data is not None]
    heads = [
        (_serialize(info), None if tensor.dtype == "string" else tensor)
        for info, tensor in zip(proto.graph.initializer, tensors, strict=True)
    ]
    proto.graph.ClearField("initializer")
    graph = _serialize(proto.graph)
    proto.ClearField("graph")
    sizes = []
    for head, tensor in heads:
        data = 0 if tensor is None else tensor.nbytes or 0
        sizes.append(len(head) + (0 if tensor is None else len(_field(9, data)) + data))
    total = len(graph) + sum(len(_field(5, size)) + size for size in sizes)
    file.write(_serialize(proto))
    file.write(_field(7, total) + graph)
    for (head, tensor), size in zip(heads, sizes, strict=True):
        file.write(_field(5, size) + head)
        if tensor is not None:
            file.write(_field(9, tensor.nbytes or 0))
            file.write(_whole(tensor))


def _whole(tensor: Tensor) -> Any:
    """Return a tensor's data, which must be as long as its shape says: lengths were written before it was read."""
    data = tensor.bytes()
    if len(data) != tensor.nbytes:
        raise GraphError(f"the tensor has {len(data)} bytes, not {tensor.nbytes}", node=tensor.name)
    return data


def _field(number: int, size: int) -> bytes:
    """Return the head of a protobuf field of so many bytes."""
    out = bytearray((number << 3 | 2,))
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def _sizes(model: Model) -> Iterator[int]:
    for top in (model.graph, *(function.body for function in model.functions)):
        for graph in graphs(top):
            tensors = list(graph.initializers.values())
            for node in graph.nodes:
                for value in node.attributes.values():
                    items = value if isinstance(value, tuple) else (value,)
                    tensors += [item for item in items if isinstance(item, Tensor)]
            yield from (t.nbytes or 0 for t in tensors if t.data is not None and t.dtype in ITEM_BITS)


def _serialize(proto: Any) -> bytes:
    from google.protobuf.message import EncodeError

    try:
        return bytes(proto.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        raise LimitError("the model without its weights", "2 GiB") from None


def infer_shapes(model: Model) -> Mapping[str, Value]:
    """Return what ONNX's own shape inference finds out about the main graph's values, nothing where it fails.

    Examples
    --------
    >>> from graphviz_nets.graph.ir import Graph, Model, Node, Value
    >>> graph = Graph("net", (Node("Relu", ("x",), ("y",)),), ("x",), ("y",), {"x": Value("x", "float32", (1, "n"))})
    >>> infer_shapes(Model(graph))["y"].shape
    (1, 'n')
    """
    import onnx

    graph = model.graph
    light = {
        name: replace(tensor, data=None) if (tensor.nbytes or 0) > 4096 or tensor.dtype == "string" else tensor
        for name, tensor in graph.initializers.items()
    }
    proto = to_proto(replace(model, graph=replace(graph, initializers=light), scopes={}), strict=False)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        found = Reader(inferred, "").graph(inferred.graph).values
    except Exception:  # the C++ code raises its own errors, RuntimeError, ValueError and more
        return NOTHING
    return {name: value for name, value in found.items() if value.dtype is not None or value.shape is not None}
