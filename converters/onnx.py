"""ONNX: any ``.onnx`` file, ours or somebody else's, drawn as it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from graphviz_nets.errors import ConfigError, LimitError, ParseError
from graphviz_nets.graph import proto
from graphviz_nets.graph.decode import NODES
from graphviz_nets.graph.ir import Function, Graph, Model, Node, Ref, Shape, Value
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
        place = str(path)
        content = proto.load(place) if data is None else data
        if content.startswith(POINTER):
            hint = "fetch the model with: git lfs pull"
            raise ParseError("the file is a git-LFS pointer, not a model", path=place, hint=hint)
        model = flat(scoped(proto.from_proto(proto.parse(content, place), place if data is None else "")))
        return reshape(model, options.input_shapes) if getattr(options, "input_shapes", None) else model


SCOPES, CLASSES, NAMESPACE = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy", "namespace"
DEPTH = 64
"""Parts of a name that become scopes."""


def scoped(model: Model) -> Model:
    """Return the model with the scopes that its file tells of, where it has none.

    PyTorch's exporter writes a list of module names to each node; others write ``namespace``; most put the path into
    the node's name, with ``/`` between its parts. A fused node without such a name stands with its weights.
    """
    graph = model.graph
    if model.scopes or any(node.scope for node in graph.nodes):
        return model
    types: dict[ScopePath, str] = {}
    nodes = []
    for node in graph.nodes:
        path = _torch(node, types) or _path(node.metadata.get(NAMESPACE, ""))
        if not path and "/" in node.name:
            path = _path(node.name)[:-1]
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
    """Return the parts of a path; PyTorch writes a class behind each, after a colon."""
    parts = (part.partition(": ")[0].strip() for part in name.split("/"))
    return tuple(part for part in parts if part)


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
            path: list[str] = []
            for part in name.split(".")[:-1]:
                if part.isdecimal() and path:
                    path[-1] += f".{part}"
                else:
                    path.append(part)
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


# Local functions --------------------------------------------------------------------------------------------------

NESTED = 64
"""Local functions that call each other."""

Key: TypeAlias = "tuple[str, str, str]"


def flat(model: Model, grouped: bool = True) -> Model:
    """Return the model with each call of a local function replaced by the function's nodes.

    Parameters
    ----------
    model : Model
        Whose nodes stand in their scopes.
    grouped : bool
        Make a scope of kind ``function`` of each call in the main graph; else its nodes stand where the call stood.

    Raises
    ------
    LimitError
        When that makes more than a million nodes.

    Examples
    --------
    >>> import onnx
    >>> text = '''<ir_version: 8, opset_import: ["": 17, "my": 1]> net (float[2] x) => (float[2] y) { y = my.twice(x) }
    ... <opset_import: ["": 17], domain: "my"> twice (a) => (b) { b = Add(a, a) }'''
    >>> model = flat(proto.from_proto(onnx.parser.parse_model(text)))
    >>> [(node.op_type, node.inputs, node.scope) for node in model.graph.nodes]
    [('Add', ('x', 'x'), ('y',))]
    """
    table: dict[Key, Function] = {}
    left: list[Function] = []
    problems = list(model.problems)
    for function in model.functions:
        other = [
            domain for domain, version in function.opset_imports.items()
            if model.opset_imports.get(domain, version) != version
        ]  # fmt: skip
        if other:  # its operations mean what another version of ONNX says
            problems.append(f"function {function.name!r} stays closed: it uses another version of {other[0] or 'ONNX'}")
            left.append(function)
        else:
            table[function.domain, function.name, function.overload] = function
    if not table:
        return replace(model, problems=tuple(problems))
    scopes: dict[ScopePath, Scope] = dict(model.scopes)
    inliner = _Inliner(table, scopes if grouped else None, {*model.graph.producers, *model.graph.by_id})
    graph = inliner.graph(model.graph)
    imports = {**{k: v for f in table.values() for k, v in f.opset_imports.items()}, **model.opset_imports}
    found = replace(model, graph=graph, scopes=scopes, functions=tuple(left), opset_imports=imports)
    return replace(found, problems=(*problems, *inliner.problems))


class _Inliner:
    """Replaces calls; names inside are prefixed with the call's id."""

    def __init__(self, table: Mapping[Key, Function], scopes: dict[ScopePath, Scope] | None, taken: set[str]) -> None:
        self.table, self.scopes, self.taken = table, scopes, taken
        self.problems: dict[str, None] = {}
        self.count = 0

    def graph(self, graph: Graph, inner: bool = False) -> Graph:
        result: list[Node] = []
        values, tensors = dict(graph.values), dict(graph.initializers)
        waiting: list[tuple[Node, tuple[Key, ...]]] = [(node, ()) for node in reversed(graph.nodes)]
        while waiting:
            node, chain = waiting.pop()
            key = (node.domain, node.op_type, node.overload)
            function = self.table.get(key)
            if function is not None and (key in chain or len(chain) >= NESTED):
                self.problems[f"function {function.name!r} calls itself"] = None
                function = None
            if function is None:
                self.count += 1
                if self.count > NODES:
                    raise LimitError("the number of nodes", NODES)
                inside = {
                    name: tuple(self.graph(item, True) for item in value)
                    if isinstance(value, tuple)
                    else self.graph(value, True)
                    for name, value in node.attributes.items()
                    if isinstance(value, Graph) or (isinstance(value, tuple) and value and isinstance(value[0], Graph))
                }
                result.append(replace(node, attributes={**node.attributes, **inside}) if inside else node)
                continue
            body = self.body(node, function, inner)
            values.update(body.values)
            tensors.update(body.initializers)
            waiting += [(made, (*chain, key)) for made in reversed(body.nodes)]
        return replace(graph, nodes=tuple(result), values=values, initializers=tensors)

    def body(self, call: Node, function: Function, inner: bool) -> Graph:
        """Return the nodes that a call stands for, under the names that its surroundings know."""
        prefix, number = call.id, 2
        while f"{prefix}/" in self.taken:
            prefix, number = f"{call.id}#{number}", number + 1
        self.taken.add(f"{prefix}/")
        body = function.body
        names = {name: (call.inputs[k] if k < len(call.inputs) else "") for k, name in enumerate(body.inputs)}
        passed = []
        for k, name in enumerate(body.outputs):
            wanted = call.outputs[k] if k < len(call.outputs) else ""
            if not wanted:
                continue
            if name in names:  # an input, or an output twice, handed through
                passed.append((name, wanted))
            else:
                names[name] = wanted
        given = {**function.defaults, **{key: call.attributes[key] for key in call.attributes}}
        path = call.scope
        if self.scopes is not None and not inner:
            path = (*call.scope, prefix.rpartition("/")[2] or prefix)
            self.scopes.setdefault(path, Scope(path, "function", type=function.name))
        renamed = _renamed(body, names, f"{prefix}/", given)
        nodes = [node.moved(path) for node in renamed.nodes]
        nodes += [
            Node("Identity", (names[name],), (wanted,), f"{prefix}/{wanted}", scope=path) for name, wanted in passed
        ]
        values = {n: v for n, v in renamed.values.items() if n not in call.inputs and n not in call.outputs}
        return replace(renamed, nodes=tuple(nodes), values=values)


def _renamed(graph: Graph, known: Mapping[str, str], prefix: str, given: Mapping[str, Any]) -> Graph:
    """Return a graph with names replaced where they are known and prefixed where they are its own; refs are filled."""
    own = {*graph.producers, *graph.inputs, *graph.initializers}
    names = {**known, **{name: f"{prefix}{name}" for name in own if name not in known}}

    def new(name: str) -> str:
        return names.get(name, name)

    def attribute(value: Any) -> Any:
        if isinstance(value, Graph):
            inner = {k: v for k, v in names.items() if k not in {*value.producers, *value.inputs, *value.initializers}}
            return _renamed(value, inner, prefix, given)
        if isinstance(value, tuple) and value and isinstance(value[0], Graph):
            return tuple(attribute(item) for item in value)
        return value

    def filled(node: Node) -> dict[str, Any]:
        whole = {k: given.get(v.name) if isinstance(v, Ref) else attribute(v) for k, v in node.attributes.items()}
        return {k: v for k, v in whole.items() if v is not None}

    nodes = tuple(
        replace(
            node, inputs=tuple(map(new, node.inputs)), outputs=tuple(map(new, node.outputs)), id=f"{prefix}{node.id}",
            name=f"{prefix}{node.name or node.id}", attributes=filled(node),
        )
        for node in graph.nodes
    )  # fmt: skip
    return replace(
        graph,
        nodes=nodes,
        inputs=tuple(map(new, graph.inputs)),
        outputs=tuple(map(new, graph.outputs)),
        values={new(k): replace(v, name=new(k)) for k, v in graph.values.items()},
        initializers={new(k): replace(t, name=new(k)) for k, t in graph.initializers.items()},
    )


converter = Onnx()
