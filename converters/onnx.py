"""ONNX: any ``.onnx`` file, ours or somebody else's, drawn as it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError, ParseError
from graphviz_nets.graph.ir import Graph, Model, Node, Shape, Value
from graphviz_nets.graph.scopes import Path as ScopePath
from graphviz_nets.graph.scopes import Scope

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
        from graphviz_nets.graph import proto  # not for every file that is only looked at

        place = str(path)
        content = proto.load(place) if data is None else data
        if content.startswith(POINTER):
            hint = "fetch the model with: git lfs pull"
            raise ParseError("the file is a git-LFS pointer, not a model", path=place, hint=hint)
        model = scoped(proto.from_proto(proto.parse(content, place), place if data is None else ""))
        return reshape(model, options.input_shapes) if getattr(options, "input_shapes", None) else model


SCOPES, CLASSES, NAMESPACE = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy", "namespace"
DEPTH = 64
"""Parts of a name that become scopes."""


def scoped(model: Model) -> Model:
    """Return the model with the scopes that its file tells of, where it has none.

    PyTorch's exporter writes a list of module names to each node; others write ``namespace``; most put the path into
    the node's name, with ``/`` between its parts. A fused node without such a name stands with its weights.
    """
    model = _private(model)
    graph = model.graph
    if model.scopes or any(node.scope for node in graph.nodes):
        return model
    types: dict[ScopePath, str] = {}
    nodes = []
    dotted = sum("." in node.name and "/" not in node.name for node in graph.nodes) * 2 > len(graph.nodes)
    for node in graph.nodes:
        path = _torch(node, types) or _path(node.metadata.get(NAMESPACE, ""))
        if not path:
            path = _path(node.name)[:-1] if "/" in node.name else _dotted(node.name)[:-1] if dotted else ()
        nodes.append((node, path))
    if not any(path for _, path in nodes):
        return model
    known = {path[:size] for _, path in nodes for size in range(1, len(path) + 1)}
    place = {node.id: (path or _beside(node, graph, known))[:DEPTH] for node, path in nodes}
    for node in graph.nodes:
        if not place[node.id]:  # where everything is that it is wired to
            near = [graph.producers[name].id for name in node.inputs if name in graph.producers]
            near += [user.id for name in node.outputs for user, _ in graph.consumers.get(name, ())]
            place[node.id] = _common([place[other] for other in near if place[other]])
    changed = tuple(node.moved(place[node.id]) if place[node.id] else node for node in graph.nodes)
    scopes = {path: Scope(path, "module", type=type_) for path, type_ in types.items() if path in known}
    return replace(model.with_graph(replace(graph, nodes=changed)), scopes=scopes)


TRACE = "pkg.torch.onnx.stack_trace"


def _private(model: Model) -> Model:
    """Return the model without the stack traces of PyTorch's exporter, which tell of somebody's machine."""
    nodes = tuple(
        replace(node, metadata={k: v for k, v in node.metadata.items() if k != TRACE})
        if TRACE in node.metadata
        else node
        for node in model.graph.nodes
    )
    return model.with_graph(replace(model.graph, nodes=nodes)) if nodes != model.graph.nodes else model


def _common(paths: Sequence[ScopePath]) -> ScopePath:
    """Return the beginning that all paths share.

    Examples
    --------
    >>> _common([("a", "b", "c"), ("a", "b", "d")]), _common([])
    (('a', 'b'), ())
    """
    shared = paths[0] if paths else ()
    for path in paths[1:]:
        size = next((k for k, (a, b) in enumerate(zip(shared, path, strict=False)) if a != b), len(path))
        shared = shared[:size]
    return shared


def _path(name: str) -> ScopePath:
    """Return the parts of a path; PyTorch writes a class behind each, after a colon.

    TensorFlow Lite joins the names of all that it has made one, the last operation's first, by ``;``.
    """
    parts = (part.partition(": ")[0].strip() for part in name.partition(";")[0].split("/"))
    return tuple(part for part in parts if part)


def _dotted(name: str) -> ScopePath:
    """Return the parts of a dotted name; a number stays with what it counts.

    Examples
    --------
    >>> _dotted("model.layers.0.attn.q")
    ('model', 'layers.0', 'attn', 'q')
    """
    path: list[str] = []
    for part in filter(None, name.split(".")):
        if part.isdecimal() and path:
            path[-1] += f".{part}"
        else:
            path.append(part)
    return tuple(path)


def _torch(node: Node, types: dict[ScopePath, str]) -> ScopePath:
    """Return the module path in PyTorch's metadata, and note the classes of the modules on it."""
    names = _strings(node.metadata.get(SCOPES, ""))
    classes = _strings(node.metadata.get(CLASSES, ""))
    # Each name is the module's whole dotted name, the last one the operation itself.
    path: list[str] = []
    above = ""
    for name, type_ in zip(names[:-1], classes, strict=False):
        own = name.removeprefix(f"{above}.") if above else name
        if own:
            path.append(own)
            types.setdefault(tuple(path), type_.rpartition(".")[2])
            above = name
    return tuple(path)


def _strings(text: str) -> list[str]:
    """Read the list of strings that PyTorch writes as Python would; anything else is nothing."""
    if not text.startswith("[") or len(text) > 100_000:
        return []
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []


def _beside(node: Node, graph: Graph, known: set[ScopePath]) -> ScopePath:
    """Return the longest known path that the name of one of a node's weights begins with."""
    for name in node.inputs:
        if name in graph.initializers and "." in name:
            path = list(_dotted(name.rpartition(".")[0]))
            while path and tuple(path) not in known:
                path.pop()
            if path:
                return tuple(path)
    return ()


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
