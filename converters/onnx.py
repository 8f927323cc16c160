"""ONNX: any ``.onnx`` file, ours or somebody else's, drawn as it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError, ParseError
from graphviz_nets.graph import proto
from graphviz_nets.graph.ir import Model, Shape, Value

POINTER = b"version https://git-lfs"

_VARINT, _BYTES = 0, 2
_FIELDS: Mapping[int, int] = {
    1: _VARINT, 2: _BYTES, 3: _BYTES, 4: _BYTES, 5: _VARINT, 6: _BYTES, 7: _BYTES, 8: _BYTES, 14: _BYTES, 20: _BYTES,
    25: _BYTES, 26: _BYTES,
}  # fmt: skip
"""Fields of ModelProto and how they are coded."""
_TEXTS = (2, 3, 4)
_GRAPH = 7
_GRAPH_FIELDS = (1, 2, 5, 10, 11, 12, 13, 14, 15, 16)


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """Return a number and the position after it; IndexError where the data ends."""
    number = shift = 0
    while True:
        byte = data[start]
        start += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, start
        shift += 7
        if shift > 63:
            raise ValueError("too long a number")


def _fields(head: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (field, wire type, content as far as it is in the head); a number's content is empty."""
    start = 0
    while start < len(head):
        tag, start = _varint(head, start)
        value, start = _varint(head, start)
        content = b""
        if tag & 7 == _BYTES:
            content = head[start : start + value]
            start += value
        yield tag >> 3, tag & 7, content


def sniff(head: bytes) -> int:
    """Say how sure it is, 0 to 100, that these first bytes begin a ModelProto.

    Examples
    --------
    >>> sniff(bytes.fromhex("0808 1205") + b"torch" + bytes.fromhex("3a02 1200")), sniff(b"name: 'net'")
    (95, 0)
    """
    seen: set[int] = set()
    try:
        for field, wire, content in _fields(head):
            if _FIELDS.get(field) != wire:
                return 0
            if field in _TEXTS and not content[:1024].decode(errors="replace").isprintable():
                return 0
            if field == _GRAPH:
                inner, _ = _varint(content, 0) if content else (10, 0)
                return 95 if inner & 7 == _BYTES and inner >> 3 in _GRAPH_FIELDS else 0
            seen.add(field)
    except (IndexError, ValueError):
        return 0
    return 70 if {1, 8} <= seen or {1, 2} <= seen else 0


@dataclass(frozen=True)
class Onnx:
    """Reads ``.onnx``; external data stays where it is until asked for."""

    name: str = "onnx"
    title: str = "ONNX"
    suffixes: tuple[str, ...] = (".onnx",)

    def match(self, path: Path, head: bytes) -> int:
        """Say how sure it is, by content; what is only called ``.onnx`` is taken too, to be refused with a reason."""
        named = path.suffix.lower() in self.suffixes
        return max(sniff(head), 60 if named and head.startswith(POINTER) else 10 if named and head else 0)

    def open(self, path: Path, data: bytes | None, options: Any) -> Model:
        """Return the model.

        Parameters
        ----------
        path : Path
            The file, or only its name where `data` is given (then external data is not looked for).
        data : bytes, optional
            Its content.
        options : Options
            ``input_shapes`` replaces types and shapes of inputs.

        Raises
        ------
        ParseError
            When the file is truncated, broken or a git-LFS pointer.
        LimitError
            Over 2 GiB or a million nodes.
        """
        place = str(path)
        content = proto.load(place) if data is None else data
        if content.startswith(POINTER):
            hint = "fetch the model with: git lfs pull"
            raise ParseError("the file is a git-LFS pointer, not a model", path=place, hint=hint)
        model = proto.from_proto(proto.parse(content, place), place if data is None else "")
        return reshape(model, options.input_shapes) if getattr(options, "input_shapes", None) else model


def reshape(model: Model, shapes: Mapping[str, tuple[str | None, Shape]]) -> Model:
    """Return the model with given input types; symbols that they settle are settled everywhere.

    Parameters
    ----------
    model : Model
        With inputs of any shape.
    shapes : mapping of str to (dtype, shape)
        By input name, or by position (``"0"``) for those given without one.

    Raises
    ------
    ConfigError
        When there is no such input.
    """
    graph = model.graph
    settled: dict[str, int | str | None] = {}
    given: dict[str, Value] = {}
    for key, (dtype, shape) in shapes.items():
        by_position = key not in graph.inputs and key.isdecimal() and int(key) < len(graph.inputs)
        name = graph.inputs[int(key)] if by_position else key
        if name not in graph.inputs:
            known = ", ".join(graph.inputs) or "none"
            raise ConfigError(f"the model has no input {key!r}", key="input-shape", hint=f"its inputs: {known}")
        old = graph.value(name)
        settled |= {a: b for a, b in zip(old.shape or (), shape, strict=False) if isinstance(a, str)}
        given[name] = replace(old, dtype=dtype or old.dtype, shape=shape)
    values = {
        name: replace(value, shape=tuple(settled.get(dim, dim) if isinstance(dim, str) else dim for dim in value.shape))
        for name, value in graph.values.items()
        if value.shape is not None
    }
    return model.with_graph(replace(graph, values={**graph.values, **values, **given}))


converter = Onnx()
